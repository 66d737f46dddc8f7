"""Conservation (五级平衡): every fen that is settled is found again in the day, in the clearing and in the fund."""
