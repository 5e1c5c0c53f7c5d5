"""Serverless decisions: as pure as the market, and a customer of it."""
