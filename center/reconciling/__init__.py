"""Reconciliation (对账): the books of hospitals, of front-ends and of the centre, compared, explained and put right."""
