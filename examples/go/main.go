// A client of Headwater, step by step, against a running router: client [HOST:PORT]
//
// Says what it does, and fails at the first thing that is not as it should be.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	headwaterv1 "headwater.example/client/gen/headwater/v1"
	storesv1 "headwater.example/client/gen/stores/v1"
	"headwater.example/client/headwater"
)

// Every call has a deadline: without one a lost server is waited for without end.
const deadline = 10 * time.Second

func check(holds bool, what string, facts ...any) {
	if !holds {
		fmt.Fprintln(os.Stderr, append([]any{"NOT AS IT SHOULD BE:", what}, facts...)...)
		os.Exit(1)
	}
}

func kroner(minorUnits int64) *storesv1.Money {
	return &storesv1.Money{Currency: "NOK", MinorUnits: minorUnits}
}

// must makes a call with a deadline, which has to succeed.
func must[Q, R any](ctx context.Context, request Q,
	call func(context.Context, Q, ...grpc.CallOption) (R, error), options ...grpc.CallOption) R {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	reply, err := call(ctx, request, options...)
	check(err == nil, "a call failed", err)
	return reply
}

// refused makes a call with a deadline, which has to be refused.
func refused[Q, R any](ctx context.Context, request Q,
	call func(context.Context, Q, ...grpc.CallOption) (R, error)) headwater.Problem {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	_, err := call(ctx, request)
	check(err != nil, "it was not refused")
	return headwater.ProblemOf(err)
}

type scenario struct {
	stores  storesv1.StoreCommandServiceClient
	stock   storesv1.StockCommandServiceClient
	shops   storesv1.StoreQueryServiceClient
	items   storesv1.StockQueryServiceClient
	storeID string
	itemID  string
	sold    *headwaterv1.Receipt
	session headwater.Session
}

// A command with its idempotency key as metadata; the token comes back as metadata, too.
func (s *scenario) openAStore(ctx context.Context) {
	request := &storesv1.OpenStoreRequest{Name: "Harbour Street", City: "Bergen", Currency: "NOK"}
	ctx = metadata.AppendToOutgoingContext(ctx, "idempotency-key", rand.Text())
	var header metadata.MD
	opened := must(ctx, request, s.stores.OpenStore, grpc.Header(&header))
	tokens := header.Get(headwater.TokenKey)
	check(slices.Equal(tokens, []string{opened.GetReceipt().GetToken()}), "one token, two places")
	check(opened.GetReceipt().GetVersion() == 1, "a new store is at version 1")
	s.storeID = opened.GetStoreId()
	fmt.Println("opened store", s.storeID)
}

func (s *scenario) listItemsAndReceiveStock(ctx context.Context) {
	for _, item := range [][2]string{{"B-1", "Brunost"}, {"C-1", "Coffee"}, {"A-1", "Apples"}} {
		request := &storesv1.ListItemRequest{
			StoreId: s.storeID, Sku: item[0], Name: item[1], Price: kroner(4990)}
		s.itemID = must(ctx, request, s.stock.ListItem).GetItemId()
	}
	request := &storesv1.ReceiveStockRequest{StoreId: s.storeID, ItemId: s.itemID, Quantity: 10}
	received := must(ctx, request, s.stock.ReceiveStock)
	check(received.GetReceipt().GetVersion() == 2, "listed, then received")
	fmt.Println("listed three items and received 10 units of one")
}

// A sale under a new idempotency key, which makes it safe to send more than once.
func (s *scenario) sale(quantity int64) *storesv1.RecordSaleRequest {
	return &storesv1.RecordSaleRequest{
		StoreId: s.storeID, ItemId: s.itemID, Quantity: quantity, Amount: kroner(4990 * quantity),
		Options: &headwaterv1.CommandOptions{IdempotencyKey: rand.Text()}}
}

// As after a lost reply: the same sale is sent again, and answered by the first receipt.
func (s *scenario) sellOnceByTwoCalls(ctx context.Context) {
	sale := s.sale(2)
	first := must(ctx, sale, s.stock.RecordSale).GetReceipt()
	again := must(ctx, sale, s.stock.RecordSale).GetReceipt()
	check(!first.GetReplayed() && again.GetReplayed(), "the second call changes nothing")
	check(first.GetVersion() == again.GetVersion() && first.GetToken() == again.GetToken(), "one receipt")
	s.sold = first
	fmt.Println("sold 2 units; the repeated call got the first one's receipt")
}

func atLeast(token string) *headwaterv1.Consistency {
	return &headwaterv1.Consistency{Requirement: &headwaterv1.Consistency_AtLeast{AtLeast: token}}
}

// The item, no older than the token: asked for in a field of the request.
func (s *scenario) itemAt(ctx context.Context, token string) *storesv1.GetItemResponse {
	request := &storesv1.GetItemRequest{ItemId: s.itemID, Consistency: atLeast(token)}
	return must(ctx, request, s.items.GetItem)
}

func (s *scenario) readTheSaleByItsToken(ctx context.Context) {
	reply := s.itemAt(ctx, s.sold.GetToken())
	item, freshness := reply.GetItem(), reply.GetFreshness()
	check(item.GetOnHand() == 8 && item.GetUnitsSold() == 2, "10 received, 2 sold", item)
	check(item.GetVersion() == s.sold.GetVersion(), "the version of the receipt")
	age := freshness.GetStaleness().AsDuration().Round(time.Millisecond)
	fmt.Printf("read it back: 8 units left, as of %v ago, by %v\n", age, freshness.GetNodeRole())
}

// No token in sight: the session carries it from each reply to the next call.
func (s *scenario) readOwnWritesByAnInterceptor(ctx context.Context) {
	ctx = headwater.WithSession(ctx, &s.session)
	for _, price := range []int64{5490, 5990, 6490} {
		reprice := &storesv1.RepriceItemRequest{
			StoreId: s.storeID, ItemId: s.itemID, Price: kroner(price)}
		written := must(ctx, reprice, s.stock.RepriceItem).GetReceipt()
		check(s.session.Token == written.GetToken(), "the session holds the command's token")
		var header metadata.MD
		get := &storesv1.GetItemRequest{ItemId: s.itemID}
		read := must(ctx, get, s.items.GetItem, grpc.Header(&header))
		check(read.GetItem().GetPrice().GetMinorUnits() == price, "the session reads its own write")
		check(s.session.Token == read.GetFreshness().GetToken(), "and goes on with the query's token")
		version := fmt.Sprintf("\"%d.", read.GetItem().GetVersion())
		etag := header.Get("etag")
		check(len(etag) == 1 && strings.HasPrefix(etag[0], version),
			"the ETag begins with the version")
	}
	missing := refused(ctx, &storesv1.GetStoreRequest{StoreId: s.itemID}, s.shops.GetStore)
	check(missing.Reason == "NOT_FOUND", "the reason of what is missing", missing)
	fmt.Println("changed the price three times and read it each time through a session")
}

func (s *scenario) listPageByPage(ctx context.Context) {
	var found []string
	pages, pageToken := 0, ""
	for pages == 0 || pageToken != "" {
		request := &storesv1.ListItemsRequest{StoreId: s.storeID, PageSize: 2,
			PageToken: pageToken, Consistency: atLeast(s.session.Token)}
		page := must(ctx, request, s.items.ListItems)
		for _, item := range page.GetItems() {
			found = append(found, item.GetSku())
		}
		pages, pageToken = pages+1, page.GetNextPageToken()
	}
	all := slices.Equal(found, []string{"A-1", "B-1", "C-1"})
	check(all && pages == 2, "three items on two pages", found, pages)
	fmt.Println("listed three items on two pages")
}

// Too late, the client cannot know whether a command was applied. With its key it need not.
func (s *scenario) keepADeadline(ctx context.Context) {
	sale, began := s.sale(1), time.Now()
	hurried, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	outcome := "was answered within 1 ms"
	if _, err := s.stock.RecordSale(hurried, sale); err != nil {
		check(headwater.ProblemOf(err).Code == codes.DeadlineExceeded, "only that", err)
		outcome = "was given up after 1 ms"
	}
	check(time.Since(began) < 5*time.Second, "a deadline ends the call")
	sold := must(ctx, sale, s.stock.RecordSale).GetReceipt()
	item := s.itemAt(ctx, sold.GetToken()).GetItem()
	check(item.GetOnHand() == 7 && item.GetUnitsSold() == 3, "the sale was applied once", item)
	fmt.Printf("a sale %s, sent again, and applied once\n", outcome)
}

// A reason to branch on, and for a wrong request every field that is wrong.
func (s *scenario) beRefused(ctx context.Context) {
	tooMany := refused(ctx, s.sale(1000), s.stock.RecordSale)
	check(tooMany.Code == codes.FailedPrecondition, "its code", tooMany)
	check(tooMany.Domain == "stores" && tooMany.Reason == "INSUFFICIENT_STOCK", "why", tooMany)
	wrong := refused(ctx, &storesv1.OpenStoreRequest{City: "Bergen", Currency: "kr"}, s.stores.OpenStore)
	check(wrong.Code == codes.InvalidArgument, "its code", wrong)
	check(wrong.Domain == "headwater" && wrong.Reason == "INVALID_REQUEST", "why", wrong)
	check(len(wrong.Fields) == 2 && wrong.Fields["name"] != "" && wrong.Fields["currency"] != "",
		"both fields", wrong)
	fmt.Println("was refused for INSUFFICIENT_STOCK, and for two wrong fields at once")
}

func (s *scenario) sell(ctx context.Context) *headwaterv1.Receipt {
	return must(ctx, s.sale(1), s.stock.RecordSale).GetReceipt()
}

// The versions that a watch tells of, up to this one, and what resumes after it.
func (s *scenario) watchUntil(ctx context.Context, version uint64,
	request *storesv1.WatchItemRequest) (told []uint64, resumeToken string) {
	// Cancelling the context ends the stream.
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	stream, err := s.items.WatchItem(ctx, request)
	check(err == nil, "the watch", err)
	for !slices.Contains(told, version) {
		message, err := stream.Recv()
		check(err == nil, "the watch", err)
		// A message without a change says that time has passed.
		for _, change := range message.GetChanges() {
			told = append(told, change.GetItem().GetVersion())
		}
		resumeToken = message.GetResumeToken()
	}
	cancel()
	_, err = stream.Recv()
	check(headwater.ProblemOf(err).Code == codes.Canceled, "the client ended it", err)
	return told, resumeToken
}

// A stream of changes without a gap, although nobody listens to it for a while.
func (s *scenario) watchAndResume(ctx context.Context) {
	first := s.sell(ctx)
	told, resumeToken := s.watchUntil(ctx, first.GetVersion(), &storesv1.WatchItemRequest{
		ItemId: s.itemID, Consistency: atLeast(first.GetToken())})
	check(slices.Equal(told, []uint64{first.GetVersion()}), "it begins with the state", told)
	s.sell(ctx)
	s.sell(ctx)
	last := s.sell(ctx)
	told, _ = s.watchUntil(ctx, last.GetVersion(), &storesv1.WatchItemRequest{
		ItemId: s.itemID, Options: &headwaterv1.WatchOptions{ResumeAfter: resumeToken}})
	once := slices.Equal(slices.Compact(slices.Sorted(slices.Values(told))), told)
	check(told[0] > first.GetVersion() && once, "each once", told)
	fmt.Println("watched an item, cancelled, and resumed the watch where it had ended")
}

func main() {
	address := "127.0.0.1:50050"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	conn, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(headwater.Intercept))
	check(err == nil, "the address", err)
	defer conn.Close()
	s := &scenario{
		stores: storesv1.NewStoreCommandServiceClient(conn),
		stock:  storesv1.NewStockCommandServiceClient(conn),
		shops:  storesv1.NewStoreQueryServiceClient(conn),
		items:  storesv1.NewStockQueryServiceClient(conn),
	}
	ctx := context.Background()
	s.openAStore(ctx)
	s.listItemsAndReceiveStock(ctx)
	s.sellOnceByTwoCalls(ctx)
	s.readTheSaleByItsToken(ctx)
	s.readOwnWritesByAnInterceptor(ctx)
	s.listPageByPage(ctx)
	s.keepADeadline(ctx)
	s.beRefused(ctx)
	s.watchAndResume(ctx)
	fmt.Println("all as it should be")
}
