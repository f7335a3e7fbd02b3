"""The two kinds of store, as the store's own tests have them."""

from tests.unit.store.addresses import address

__all__ = ["address"]
