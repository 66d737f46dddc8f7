"""The centre: settle, accumulate, post, receive detail, open upload windows, reconcile."""
