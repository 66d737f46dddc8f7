"""Random faults on real processes: two front-ends and a centre under load, and what their clients were told."""
