"""Exchange with a hospital information system (HIS): its files, its shared tables, their columns."""
