"""The settlement statement (医疗费用结算单): what the patient takes home."""

from producers.statement.content import NotSettled, stated_of, statement
from producers.statement.printing import as_page, as_paper, as_text

__all__ = ["NotSettled", "as_page", "as_paper", "as_text", "stated_of", "statement"]
