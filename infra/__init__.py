"""Plumbing: settings, Celery application, codec, databases, embedded servers, clock, logs, metrics."""
