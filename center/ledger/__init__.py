"""The ledger (总账): documents and their postings, the hash chain over them, who did what."""
