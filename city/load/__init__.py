"""A city's peak day played against real processes: the model, its arrivals and claims, the run, and its report."""
