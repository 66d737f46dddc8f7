"""Small builders the tests share: a seeded front-end, claims, messages on a queue, waiting."""
