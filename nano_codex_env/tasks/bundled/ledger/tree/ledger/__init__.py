"""Double-entry bookkeeping for small clubs."""

from ledger.accounts import Account, Chart
from ledger.balances import balance, balances, trial_balance
from ledger.csvimport import ImportResult, Profile, Rule, import_statement, read_statement
from ledger.errors import ImportFailed, LedgerError, UnbalancedEntry
from ledger.journal import Entry, Journal, Posting
from ledger.money import Money
from ledger.months import Month, add_months
from ledger.recurring import Recurring, post_due
from ledger.reports import account_statement, balance_sheet, income_statement, render
from ledger.sharing import share_cost
from ledger.storage import dump, load
from ledger.transfers import IN_TRANSIT, Transit, in_transit, transfer

__all__ = [
    "IN_TRANSIT",
    "Account",
    "Chart",
    "Entry",
    "ImportFailed",
    "ImportResult",
    "Journal",
    "LedgerError",
    "Money",
    "Month",
    "Posting",
    "Profile",
    "Recurring",
    "Rule",
    "Transit",
    "UnbalancedEntry",
    "account_statement",
    "add_months",
    "balance",
    "balance_sheet",
    "balances",
    "dump",
    "import_statement",
    "in_transit",
    "income_statement",
    "load",
    "post_due",
    "read_statement",
    "render",
    "share_cost",
    "transfer",
    "trial_balance",
]
