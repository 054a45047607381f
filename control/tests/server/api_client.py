"""Uses the client that was generated of the API's description, as a program of somebody else would.

Arguments: the folder with the package `client`, the server's address, its authority's certificate, a client certificate and its key.
"""

import ssl
import sys
import uuid

folder, url, authority, certificate, key = sys.argv[1:]
sys.path.insert(0, folder)

from client import Client
from client.api.accounts import get_accounts, get_accounts_by_id, patch_accounts_by_id, post_accounts
from client.api.ledger import get_transfers_by_id, put_books_by_id, put_transfers_by_id
from client.models import Account, NewAccount, NewBook, Problem, SetStanding, Standing, Transfer, TransferMove

context = ssl.create_default_context(cafile=authority)
context.load_cert_chain(certificate, key)
client = Client(base_url=url, verify_ssl=context, headers={"sealcast-reason": "a test"})


def add(name, request):
    return post_accounts.sync(client=client, body=NewAccount(name=name), idempotency_key=request)


made = [add(f"account {number}", uuid.uuid4().hex) for number in range(5)]
assert all(isinstance(account, Account) for account in made), made
again = uuid.uuid4().hex
assert add("once", again) == add("once", again)

# All of them, page by page.
found, after = [], None
while True:
    page = get_accounts.sync(client=client, limit=2, **({"after": after} if after else {}))
    assert len(page.accounts) <= 2
    found += page.accounts
    after = page.next_ or None
    if not after:
        break
# Ids of the same millisecond are in any order.
assert sorted(account.id for account in made) == [account.id for account in found if account.name.startswith("account ")]

closed = patch_accounts_by_id.sync(made[0].id, client=client, body=SetStanding(standing=Standing.SUSPENDED))
assert closed.standing == Standing.SUSPENDED
assert get_accounts_by_id.sync(made[0].id, client=client) == closed

nobody = get_accounts_by_id.sync("acc_" + "0" * 32, client=client)
assert isinstance(nobody, Problem) and nobody.status == 404, nobody

books = ["book_" + uuid.uuid4().hex for _ in range(2)]
for book in books:
    put_books_by_id.sync(book, client=client, body=NewBook(unit="EUR/cent"))
transfer = "trf_" + uuid.uuid4().hex
command = TransferMove(kind="move", debit=books[0], credit=books[1], amount=499)
moved = put_transfers_by_id.sync(transfer, client=client, body=command)
assert isinstance(moved, Transfer) and moved == get_transfers_by_id.sync(transfer, client=client)
print("good")
