"""A client of Headwater, step by step, against a running router: python scenario.py [HOST:PORT]

Says what it does, and fails at the first thing that is not as it should be.
"""

import sys
import time
import uuid

import grpc
from headwater.v1.headwater_pb2 import CommandOptions, Consistency, NodeRole, WatchOptions
from headwater_client import TOKEN, Session, problem_of
from stores.v1 import commands_pb2 as commands
from stores.v1 import queries_pb2 as queries
from stores.v1.commands_pb2_grpc import StockCommandServiceStub, StoreCommandServiceStub
from stores.v1.queries_pb2_grpc import StockQueryServiceStub, StoreQueryServiceStub
from stores.v1.types_pb2 import Money

# Every call has a deadline: without one a lost server is waited for without end.
DEADLINE = 10.0


def check(holds, what):
    if not holds:
        sys.exit(f"NOT AS IT SHOULD BE: {what}")


def kroner(minor_units):
    return Money(currency="NOK", minor_units=minor_units)


class Scenario:
    def __init__(self, channel):
        self.channel = channel
        self.stores = StoreCommandServiceStub(channel)
        self.stock = StockCommandServiceStub(channel)
        self.items = StockQueryServiceStub(channel)
        self.store_id = self.item_id = ""

    def open_a_store(self):
        """A command with its idempotency key as metadata; the token comes back as metadata, too."""
        request = commands.OpenStoreRequest(name="Harbour Street", city="Bergen", currency="NOK")
        key = [("idempotency-key", str(uuid.uuid4()))]
        opened, call = self.stores.OpenStore.with_call(request, metadata=key, timeout=DEADLINE)
        self.store_id = opened.store_id
        check(dict(call.initial_metadata())[TOKEN] == opened.receipt.token, "one token, two places")
        check(opened.receipt.version == 1, "a new store is at version 1")
        print(f"opened store {self.store_id}")

    def list_items_and_receive_stock(self):
        for sku, name in [("B-1", "Brunost"), ("C-1", "Coffee"), ("A-1", "Apples")]:
            request = commands.ListItemRequest(
                store_id=self.store_id, sku=sku, name=name, price=kroner(4990)
            )
            listed = self.stock.ListItem(request, timeout=DEADLINE)
        self.item_id = listed.item_id
        request = commands.ReceiveStockRequest(
            store_id=self.store_id, item_id=self.item_id, quantity=10
        )
        received = self.stock.ReceiveStock(request, timeout=DEADLINE)
        check(received.receipt.version == 2, "listed, then received")
        print("listed three items and received 10 units of one")

    def sale(self, quantity):
        """A sale under a new idempotency key, which makes it safe to send more than once."""
        return commands.RecordSaleRequest(
            store_id=self.store_id,
            item_id=self.item_id,
            quantity=quantity,
            amount=kroner(4990 * quantity),
            options=CommandOptions(idempotency_key=str(uuid.uuid4())),
        )

    def sell_once_by_two_calls(self):
        """As after a lost reply: the same sale is sent again, and answered by the first receipt."""
        sale = self.sale(2)
        first = self.stock.RecordSale(sale, timeout=DEADLINE).receipt
        again = self.stock.RecordSale(sale, timeout=DEADLINE).receipt
        check(not first.replayed and again.replayed, "the second call changes nothing")
        check((again.version, again.token) == (first.version, first.token), "one receipt")
        self.sold = first
        print("sold 2 units; the repeated call got the first one's receipt")

    def item_at(self, token):
        """The item, no older than the token: asked for in a field of the request."""
        request = queries.GetItemRequest(
            item_id=self.item_id, consistency=Consistency(at_least=token)
        )
        return self.items.GetItem(request, timeout=DEADLINE)

    def read_the_sale_by_its_token(self):
        reply = self.item_at(self.sold.token)
        item, freshness = reply.item, reply.freshness
        check((item.on_hand, item.units_sold) == (8, 2), "10 received, 2 sold")
        check(item.version == self.sold.version, "the version of the receipt")
        age, role = freshness.staleness.ToMilliseconds(), NodeRole.Name(freshness.node_role)
        print(f"read it back: 8 units left, as of {age} ms ago, by {role}")

    def read_own_writes_by_an_interceptor(self):
        """No token in sight: the session carries it from each reply to the next call."""
        session = Session()
        channel = grpc.intercept_channel(self.channel, session)
        stock, items = StockCommandServiceStub(channel), StockQueryServiceStub(channel)
        for price in (5490, 5990, 6490):
            reprice = commands.RepriceItemRequest(
                store_id=self.store_id, item_id=self.item_id, price=kroner(price)
            )
            written = stock.RepriceItem(reprice, timeout=DEADLINE).receipt
            check(session.token == written.token, "the session holds the command's token")
            get = queries.GetItemRequest(item_id=self.item_id)
            read, call = items.GetItem.with_call(get, timeout=DEADLINE)
            check(read.item.price.minor_units == price, "the session reads its own write")
            check(session.token == read.freshness.token, "and goes on with the query's token")
            etag = dict(call.initial_metadata())["etag"]
            version = f'"{read.item.version}.'
            check(etag.startswith(version), "the ETag begins with the version")
        missing = queries.GetStoreRequest(store_id=str(uuid.uuid4()))
        try:
            StoreQueryServiceStub(channel).GetStore(missing, timeout=DEADLINE)
            check(False, "there is no such store")
        except grpc.RpcError as error:
            check(problem_of(error).reason == "NOT_FOUND", "the reason of what is missing")
        self.session = session
        print("changed the price three times and read it each time through a session")

    def list_page_by_page(self):
        found, pages, page_token = [], 0, ""
        while pages == 0 or page_token:
            request = queries.ListItemsRequest(
                store_id=self.store_id,
                page_size=2,
                page_token=page_token,
                consistency=Consistency(at_least=self.session.token),
            )
            page = self.items.ListItems(request, timeout=DEADLINE)
            found += [item.sku for item in page.items]
            pages, page_token = pages + 1, page.next_page_token
        check((found, pages) == (["A-1", "B-1", "C-1"], 2), f"three items on two pages: {found}")
        print("listed three items on two pages")

    def keep_a_deadline(self):
        """Too late, the client cannot know whether a command was applied. With its key it need not."""
        sale, began = self.sale(1), time.monotonic()
        try:
            self.stock.RecordSale(sale, timeout=0.001)
            outcome = "was answered within 1 ms"
        except grpc.RpcError as error:
            check(error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, f"only that: {error}")
            outcome = "was given up after 1 ms"
        check(time.monotonic() - began < 5, "a deadline ends the call")
        sold = self.stock.RecordSale(sale, timeout=DEADLINE).receipt
        item = self.item_at(sold.token).item
        check((item.on_hand, item.units_sold) == (7, 3), "the sale was applied once")
        print(f"a sale {outcome}, sent again, and applied once")

    def be_refused(self):
        """A reason to branch on, and for a wrong request every field that is wrong."""
        try:
            self.stock.RecordSale(self.sale(1000), timeout=DEADLINE)
            check(False, "there are not as many")
        except grpc.RpcError as error:
            problem = problem_of(error)
            check(problem.code == grpc.StatusCode.FAILED_PRECONDITION, f"{error}")
            check((problem.domain, problem.reason) == ("stores", "INSUFFICIENT_STOCK"), problem)
        try:
            wrong = commands.OpenStoreRequest(name="", city="Bergen", currency="kr")
            self.stores.OpenStore(wrong, timeout=DEADLINE)
            check(False, "it has no name")
        except grpc.RpcError as error:
            problem = problem_of(error)
            check(problem.code == grpc.StatusCode.INVALID_ARGUMENT, f"{error}")
            check((problem.domain, problem.reason) == ("headwater", "INVALID_REQUEST"), problem)
            check(set(problem.fields) == {"name", "currency"}, f"both fields: {problem.fields}")
        print("was refused for INSUFFICIENT_STOCK, and for two wrong fields at once")

    def sell(self):
        return self.stock.RecordSale(self.sale(1), timeout=DEADLINE).receipt

    def watch_until(self, version, request):
        """The versions that a watch tells of, up to this one, and what resumes after it."""
        told, stream = [], self.items.WatchItem(request, timeout=DEADLINE)
        while version not in told:
            # A message without a change says that time has passed.
            message = next(stream)
            told += [change.item.version for change in message.changes]
        stream.cancel()
        check(stream.code() == grpc.StatusCode.CANCELLED, "the client ended it")
        return told, message.resume_token

    def watch_and_resume(self):
        """A stream of changes without a gap, although nobody listens to it for a while."""
        first = self.sell()
        request = queries.WatchItemRequest(
            item_id=self.item_id, consistency=Consistency(at_least=first.token)
        )
        told, resume_token = self.watch_until(first.version, request)
        check(told == [first.version], f"it begins with the state: {told}")
        missed = [self.sell() for _ in range(3)]
        request = queries.WatchItemRequest(
            item_id=self.item_id, options=WatchOptions(resume_after=resume_token)
        )
        told, _ = self.watch_until(missed[-1].version, request)
        check(first.version < told[0] and told == sorted(set(told)), f"each once: {told}")
        print("watched an item, cancelled, and resumed the watch where it had ended")


def main():
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50050"
    with grpc.insecure_channel(address) as channel:
        scenario = Scenario(channel)
        scenario.open_a_store()
        scenario.list_items_and_receive_stock()
        scenario.sell_once_by_two_calls()
        scenario.read_the_sale_by_its_token()
        scenario.read_own_writes_by_an_interceptor()
        scenario.list_page_by_page()
        scenario.keep_a_deadline()
        scenario.be_refused()
        scenario.watch_and_resume()
    print("all as it should be")


if __name__ == "__main__":
    main()
