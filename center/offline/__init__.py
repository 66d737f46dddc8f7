"""Off-line settlement at the centre: what is leased and can cost at most, how it is posted, who is not heard."""
