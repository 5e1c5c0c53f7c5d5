"""The small server inside each serverless worker."""
