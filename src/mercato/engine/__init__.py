"""The Serverless Engine's process."""
