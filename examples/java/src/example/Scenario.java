package example;

import headwater.v1.Headwater.CommandOptions;
import headwater.v1.Headwater.Consistency;
import headwater.v1.Headwater.Receipt;
import headwater.v1.Headwater.WatchOptions;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.AbstractBlockingStub;
import io.grpc.stub.MetadataUtils;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import stores.v1.Commands.ListItemRequest;
import stores.v1.Commands.OpenStoreRequest;
import stores.v1.Commands.ReceiveStockRequest;
import stores.v1.Commands.RecordSaleRequest;
import stores.v1.Commands.RepriceItemRequest;
import stores.v1.Queries.GetItemRequest;
import stores.v1.Queries.GetItemResponse;
import stores.v1.Queries.GetStoreRequest;
import stores.v1.Queries.ListItemsRequest;
import stores.v1.Queries.WatchItemRequest;
import stores.v1.StockCommandServiceGrpc;
import stores.v1.StockCommandServiceGrpc.StockCommandServiceBlockingStub;
import stores.v1.StockQueryServiceGrpc;
import stores.v1.StockQueryServiceGrpc.StockQueryServiceBlockingStub;
import stores.v1.StoreCommandServiceGrpc;
import stores.v1.StoreCommandServiceGrpc.StoreCommandServiceBlockingStub;
import stores.v1.StoreQueryServiceGrpc;
import stores.v1.StoreQueryServiceGrpc.StoreQueryServiceBlockingStub;
import stores.v1.Types.Money;

/**
 * A client of Headwater, step by step, against a running router: Scenario [HOST:PORT]
 *
 * <p>Says what it does, and fails at the first thing that is not as it should be.
 */
final class Scenario {
  private static final Metadata.Key<String> IDEMPOTENCY_KEY =
      Metadata.Key.of("idempotency-key", Metadata.ASCII_STRING_MARSHALLER);
  private static final Metadata.Key<String> ETAG =
      Metadata.Key.of("etag", Metadata.ASCII_STRING_MARSHALLER);

  private final StoreCommandServiceBlockingStub stores;
  private final StockCommandServiceBlockingStub stock;
  private final StoreQueryServiceBlockingStub shops;
  private final StockQueryServiceBlockingStub items;
  private final Session session = new Session();
  private String storeId;
  private String itemId;
  private Receipt sold;

  private Scenario(ManagedChannel channel) {
    stores = StoreCommandServiceGrpc.newBlockingStub(channel);
    stock = StockCommandServiceGrpc.newBlockingStub(channel);
    shops = StoreQueryServiceGrpc.newBlockingStub(channel);
    items = StockQueryServiceGrpc.newBlockingStub(channel);
  }

  /** A stub for one call: without a deadline a lost server is waited for without end. */
  private static <S extends AbstractBlockingStub<S>> S in10s(S stub) {
    return stub.withDeadlineAfter(10, TimeUnit.SECONDS);
  }

  private static void check(boolean holds, String what) {
    if (!holds) {
      throw new IllegalStateException("NOT AS IT SHOULD BE: " + what);
    }
  }

  /** The problem of a call that has to be refused. */
  private static Problem refused(Runnable call) {
    try {
      call.run();
    } catch (StatusRuntimeException error) {
      return Problem.of(error);
    }
    throw new IllegalStateException("NOT AS IT SHOULD BE: it was not refused");
  }

  private static Money kroner(long minorUnits) {
    return Money.newBuilder().setCurrency("NOK").setMinorUnits(minorUnits).build();
  }

  /** A command with its idempotency key as metadata; the token comes back as metadata, too. */
  private void openAStore() {
    var request =
        OpenStoreRequest.newBuilder()
            .setName("Harbour Street")
            .setCity("Bergen")
            .setCurrency("NOK")
            .build();
    var key = new Metadata();
    key.put(IDEMPOTENCY_KEY, UUID.randomUUID().toString());
    var headers = new AtomicReference<Metadata>();
    var trailers = new AtomicReference<Metadata>();
    var opened =
        in10s(stores)
            .withInterceptors(
                MetadataUtils.newAttachHeadersInterceptor(key),
                MetadataUtils.newCaptureMetadataInterceptor(headers, trailers))
            .openStore(request);
    var receipt = opened.getReceipt();
    check(receipt.getToken().equals(headers.get().get(Session.TOKEN)), "one token, two places");
    check(receipt.getVersion() == 1, "a new store is at version 1");
    storeId = opened.getStoreId();
    System.out.println("opened store " + storeId);
  }

  private void listItemsAndReceiveStock() {
    for (var item : List.of("B-1 Brunost", "C-1 Coffee", "A-1 Apples")) {
      var words = item.split(" ");
      var request =
          ListItemRequest.newBuilder()
              .setStoreId(storeId)
              .setSku(words[0])
              .setName(words[1])
              .setPrice(kroner(4990))
              .build();
      itemId = in10s(stock).listItem(request).getItemId();
    }
    var request =
        ReceiveStockRequest.newBuilder().setStoreId(storeId).setItemId(itemId).setQuantity(10);
    var received = in10s(stock).receiveStock(request.build()).getReceipt();
    check(received.getVersion() == 2, "listed, then received");
    System.out.println("listed three items and received 10 units of one");
  }

  /** A sale under a new idempotency key, which makes it safe to send more than once. */
  private RecordSaleRequest sale(long quantity) {
    var key = CommandOptions.newBuilder().setIdempotencyKey(UUID.randomUUID().toString());
    return RecordSaleRequest.newBuilder()
        .setStoreId(storeId)
        .setItemId(itemId)
        .setQuantity(quantity)
        .setAmount(kroner(4990 * quantity))
        .setOptions(key)
        .build();
  }

  /** As after a lost reply: the same sale is sent again, and answered by the first receipt. */
  private void sellOnceByTwoCalls() {
    var sale = sale(2);
    var first = in10s(stock).recordSale(sale).getReceipt();
    var again = in10s(stock).recordSale(sale).getReceipt();
    check(!first.getReplayed() && again.getReplayed(), "the second call changes nothing");
    check(again.toBuilder().setReplayed(false).build().equals(first), "one receipt");
    sold = first;
    System.out.println("sold 2 units; the repeated call got the first one's receipt");
  }

  private static Consistency atLeast(String token) {
    return Consistency.newBuilder().setAtLeast(token).build();
  }

  /** The item, no older than the token: asked for in a field of the request. */
  private GetItemResponse itemAt(String token) {
    var request = GetItemRequest.newBuilder().setItemId(itemId).setConsistency(atLeast(token));
    return in10s(items).getItem(request.build());
  }

  private void readTheSaleByItsToken() {
    var reply = itemAt(sold.getToken());
    var item = reply.getItem();
    check(item.getOnHand() == 8 && item.getUnitsSold() == 2, "10 received, 2 sold: " + item);
    check(item.getVersion() == sold.getVersion(), "the version of the receipt");
    var staleness = reply.getFreshness().getStaleness();
    var age = staleness.getSeconds() * 1000 + staleness.getNanos() / 1_000_000;
    var role = reply.getFreshness().getNodeRole();
    System.out.printf("read it back: 8 units left, as of %d ms ago, by %s%n", age, role);
  }

  /** No token in sight: the session carries it from each reply to the next call. */
  private void readOwnWritesByAnInterceptor() {
    var ownStock = stock.withInterceptors(session);
    var headers = new AtomicReference<Metadata>();
    var capture = MetadataUtils.newCaptureMetadataInterceptor(headers, new AtomicReference<>());
    var ownItems = items.withInterceptors(session, capture);
    for (long price : new long[] {5490, 5990, 6490}) {
      var reprice =
          RepriceItemRequest.newBuilder()
              .setStoreId(storeId)
              .setItemId(itemId)
              .setPrice(kroner(price))
              .build();
      var written = in10s(ownStock).repriceItem(reprice).getReceipt();
      check(session.token().equals(written.getToken()), "the session holds the command's token");
      var read = in10s(ownItems).getItem(GetItemRequest.newBuilder().setItemId(itemId).build());
      check(read.getItem().getPrice().getMinorUnits() == price, "the session reads its own write");
      var shown = read.getFreshness().getToken();
      check(session.token().equals(shown), "and goes on with the query's token");
      var version = "\"" + read.getItem().getVersion() + ".";
      var etag = headers.get().get(ETAG);
      check(etag != null && etag.startsWith(version), "the ETag begins with the version");
    }
    var nowhere = GetStoreRequest.newBuilder().setStoreId(UUID.randomUUID().toString()).build();
    var missing = refused(() -> in10s(shops).withInterceptors(session).getStore(nowhere));
    check(missing.reason().equals("NOT_FOUND"), "the reason of what is missing: " + missing);
    System.out.println("changed the price three times and read it each time through a session");
  }

  private void listPageByPage() {
    var found = new ArrayList<String>();
    var pages = 0;
    var pageToken = "";
    do {
      var request =
          ListItemsRequest.newBuilder()
              .setStoreId(storeId)
              .setPageSize(2)
              .setPageToken(pageToken)
              .setConsistency(atLeast(session.token()))
              .build();
      var page = in10s(items).listItems(request);
      page.getItemsList().forEach(item -> found.add(item.getSku()));
      pages += 1;
      pageToken = page.getNextPageToken();
    } while (!pageToken.isEmpty());
    check(found.equals(List.of("A-1", "B-1", "C-1")) && pages == 2, "two pages: " + found);
    System.out.println("listed three items on two pages");
  }

  /** Too late, the client cannot know whether a command was applied. With its key it need not. */
  private void keepADeadline() {
    var sale = sale(1);
    var began = System.nanoTime();
    var outcome = "was answered within 1 ms";
    try {
      stock.withDeadlineAfter(1, TimeUnit.MILLISECONDS).recordSale(sale);
    } catch (StatusRuntimeException error) {
      var code = error.getStatus().getCode();
      check(code == Status.Code.DEADLINE_EXCEEDED, "only that: " + error);
      outcome = "was given up after 1 ms";
    }
    check(System.nanoTime() - began < 5_000_000_000L, "a deadline ends the call");
    var receipt = in10s(stock).recordSale(sale).getReceipt();
    var item = itemAt(receipt.getToken()).getItem();
    check(item.getOnHand() == 7 && item.getUnitsSold() == 3, "applied once: " + item);
    System.out.printf("a sale %s, sent again, and applied once%n", outcome);
  }

  /** A reason to branch on, and for a wrong request every field that is wrong. */
  private void beRefused() {
    var tooMany = refused(() -> in10s(stock).recordSale(sale(1000)));
    check(tooMany.code() == Status.Code.FAILED_PRECONDITION, "its code: " + tooMany);
    check(tooMany.domain().equals("stores"), "whose rule: " + tooMany);
    check(tooMany.reason().equals("INSUFFICIENT_STOCK"), "which rule: " + tooMany);
    var wrong = OpenStoreRequest.newBuilder().setCity("Bergen").setCurrency("kr").build();
    var problem = refused(() -> in10s(stores).openStore(wrong));
    check(problem.code() == Status.Code.INVALID_ARGUMENT, "its code: " + problem);
    check(problem.domain().equals("headwater"), "whose rule: " + problem);
    check(problem.reason().equals("INVALID_REQUEST"), "which rule: " + problem);
    check(problem.fields().keySet().equals(Set.of("name", "currency")), "both: " + problem);
    System.out.println("was refused for INSUFFICIENT_STOCK, and for two wrong fields at once");
  }

  private Receipt sell() {
    return in10s(stock).recordSale(sale(1)).getReceipt();
  }

  /** What a watch told of: versions, and what resumes after the last one. */
  private record Told(List<Long> versions, String resumeToken) {}

  /** Watches until this version is told of. */
  private Told watchUntil(long version, WatchItemRequest.Builder request) {
    var versions = new ArrayList<Long>();
    var resumeToken = "";
    // Cancelling the context ends the stream.
    try (var context = Context.current().withCancellation()) {
      var before = context.attach();
      try {
        var stream = in10s(items).watchItem(request.setItemId(itemId).build());
        while (!versions.contains(version)) {
          // A message without a change says that time has passed.
          var message = stream.next();
          message.getChangesList().forEach(change -> versions.add(change.getItem().getVersion()));
          resumeToken = message.getResumeToken();
        }
        context.cancel(null);
        var end = refused(stream::hasNext);
        check(end.code() == Status.Code.CANCELLED, "the client ended it: " + end);
      } finally {
        context.detach(before);
      }
    }
    return new Told(versions, resumeToken);
  }

  /** A stream of changes without a gap, although nobody listens to it for a while. */
  private void watchAndResume() {
    var first = sell();
    var from = WatchItemRequest.newBuilder().setConsistency(atLeast(first.getToken()));
    var begun = watchUntil(first.getVersion(), from);
    check(begun.versions().equals(List.of(first.getVersion())), "it begins with the state");
    sell();
    sell();
    var last = sell();
    var options = WatchOptions.newBuilder().setResumeAfter(begun.resumeToken());
    var request = WatchItemRequest.newBuilder().setOptions(options);
    var told = watchUntil(last.getVersion(), request).versions();
    var once = told.equals(told.stream().sorted().distinct().toList());
    check(told.get(0) > first.getVersion() && once, "each once: " + told);
    System.out.println("watched an item, cancelled, and resumed the watch where it had ended");
  }

  public static void main(String[] args) throws InterruptedException {
    var address = args.length > 0 ? args[0] : "127.0.0.1:50050";
    var channel = Grpc.newChannelBuilder(address, InsecureChannelCredentials.create()).build();
    try {
      var scenario = new Scenario(channel);
      scenario.openAStore();
      scenario.listItemsAndReceiveStock();
      scenario.sellOnceByTwoCalls();
      scenario.readTheSaleByItsToken();
      scenario.readOwnWritesByAnInterceptor();
      scenario.listPageByPage();
      scenario.keepADeadline();
      scenario.beRefused();
      scenario.watchAndResume();
      System.out.println("all as it should be");
    } finally {
      channel.shutdownNow().awaitTermination(10, TimeUnit.SECONDS);
    }
  }
}
