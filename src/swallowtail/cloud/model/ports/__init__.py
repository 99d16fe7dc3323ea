"""The ports.

What the Cloud asks of its stores, one Protocol per family, each at most ten methods (style habit
20).

Rules that hold for all:
- A method that changes something is one transaction: all of it is durable when it returns, or none
  of it happened. It takes the audit event that belongs to it (where it does not make one itself),
  which commits with it.
- It raises StorageUnavailableError when the store is down. Nothing is kept then, as far as the
  store can determine; repeating is safe.
- `tenant` scopes everything; another tenant's thing raises NotFoundError. Methods without a tenant
  are for the operator or for the machinery and are marked so.
- `now` is UTC seconds. Lists page by keyset cursor in the order that the method names.
"""
