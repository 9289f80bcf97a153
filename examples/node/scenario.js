'use strict';
// A client of Headwater, step by step, against a running router: node scenario.js [HOST:PORT]
// Says what it does, and fails at the first thing that is not as it should be. The protos are those
// of this repository, unless HEADWATER_PROTOS names another folder.

const assert = require('node:assert/strict');
const { randomUUID } = require('node:crypto');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const { TOKEN, Session, call, loadProtos, problemOf } = require('./headwater-client');

const protos = process.env.HEADWATER_PROTOS ?? path.join(__dirname, '../../proto');
const { stores } = loadProtos(protos, ['stores/v1/commands.proto', 'stores/v1/queries.proto']);
const address = process.argv[2] ?? '127.0.0.1:50050';

/** A client of a service, over the same connection as the others of that address. */
const connect = (service, options = {}) =>
  new stores.v1[service](address, grpc.credentials.createInsecure(), options);

const commands = connect('StoreCommandService');
const stock = connect('StockCommandService');
const items = connect('StockQueryService');
const kroner = (minorUnits) => ({ currency: 'NOK', minorUnits });

/** What goes through the steps. */
const shop = { storeId: '', itemId: '', sold: null, session: new Session() };

/** A command with its idempotency key as metadata; the token comes back as metadata, too. */
async function openAStore() {
  const request = { name: 'Harbour Street', city: 'Bergen', currency: 'NOK' };
  const key = { 'idempotency-key': randomUUID() };
  const { reply, metadata } = await call(commands, 'OpenStore', request, { metadata: key });
  assert.equal(metadata[TOKEN], reply.receipt.token, 'one token, two places');
  assert.equal(reply.receipt.version, 1, 'a new store is at version 1');
  shop.storeId = reply.storeId;
  console.log(`opened store ${shop.storeId}`);
}

async function listItemsAndReceiveStock() {
  for (const [sku, name] of [['B-1', 'Brunost'], ['C-1', 'Coffee'], ['A-1', 'Apples']]) {
    const request = { storeId: shop.storeId, sku, name, price: kroner(4990) };
    shop.itemId = (await call(stock, 'ListItem', request)).reply.itemId;
  }
  const request = { storeId: shop.storeId, itemId: shop.itemId, quantity: 10 };
  const { reply } = await call(stock, 'ReceiveStock', request);
  assert.equal(reply.receipt.version, 2, 'listed, then received');
  console.log('listed three items and received 10 units of one');
}

/** A sale under a new idempotency key, which makes it safe to send more than once. */
function sale(quantity) {
  const { storeId, itemId } = shop;
  const options = { idempotencyKey: randomUUID() };
  return { storeId, itemId, quantity, amount: kroner(4990 * quantity), options };
}

/** As after a lost reply: the same sale is sent again, and answered by the first receipt. */
async function sellOnceByTwoCalls() {
  const request = sale(2);
  const { receipt: first } = (await call(stock, 'RecordSale', request)).reply;
  const { receipt: again } = (await call(stock, 'RecordSale', request)).reply;
  assert.deepEqual([first.replayed, again.replayed], [false, true], 'the second changes nothing');
  assert.deepEqual({ ...again, replayed: false }, first, 'one receipt');
  shop.sold = first;
  console.log("sold 2 units; the repeated call got the first one's receipt");
}

/** The item, no older than the token: asked for in a field of the request. */
async function itemAt(token) {
  const request = { itemId: shop.itemId, consistency: { atLeast: token } };
  return (await call(items, 'GetItem', request)).reply;
}

async function readTheSaleByItsToken() {
  const { item, freshness } = await itemAt(shop.sold.token);
  assert.deepEqual([item.onHand, item.unitsSold], [8, 2], '10 received, 2 sold');
  assert.equal(item.version, shop.sold.version, 'the version of the receipt');
  const { seconds, nanos } = freshness.staleness;
  const age = seconds * 1000 + Math.round(nanos / 1e6);
  console.log(`read it back: 8 units left, as of ${age} ms ago, by ${freshness.nodeRole}`);
}

/** No token in sight: the session carries it from each reply to the next call. */
async function readOwnWritesByAnInterceptor() {
  const { session } = shop;
  const options = { interceptors: [session.interceptor] };
  const ownStock = connect('StockCommandService', options);
  const ownItems = connect('StockQueryService', options);
  for (const price of [5490, 5990, 6490]) {
    const reprice = { storeId: shop.storeId, itemId: shop.itemId, price: kroner(price) };
    const written = (await call(ownStock, 'RepriceItem', reprice)).reply.receipt;
    assert.equal(session.token, written.token, "the session holds the command's token");
    const { reply, metadata } = await call(ownItems, 'GetItem', { itemId: shop.itemId });
    assert.equal(reply.item.price.minorUnits, price, 'the session reads its own write');
    assert.equal(session.token, reply.freshness.token, "and goes on with the query's token");
    const version = `"${reply.item.version}.`;
    assert.ok(metadata.etag.startsWith(version), 'the ETag begins with the version');
  }
  const missing = call(connect('StoreQueryService', options), 'GetStore', { storeId: randomUUID() });
  assert.equal(problemOf(await refused(missing)).reason, 'NOT_FOUND');
  console.log('changed the price three times and read it each time through a session');
}

async function listPageByPage() {
  const found = [];
  let pages = 0;
  let pageToken = '';
  do {
    const consistency = { atLeast: shop.session.token };
    const request = { storeId: shop.storeId, pageSize: 2, pageToken, consistency };
    const { reply } = await call(items, 'ListItems', request);
    found.push(...reply.items.map((item) => item.sku));
    pages += 1;
    pageToken = reply.nextPageToken;
  } while (pageToken);
  assert.deepEqual([found, pages], [['A-1', 'B-1', 'C-1'], 2], 'three items on two pages');
  console.log('listed three items on two pages');
}

/** Too late, the client cannot know whether a command was applied. With its key it need not. */
async function keepADeadline() {
  const request = sale(1);
  const began = Date.now();
  const tooLate = await call(stock, 'RecordSale', request, { ms: 1 }).then(() => null, (error) => error);
  assert.ok(Date.now() - began < 5000, 'a deadline ends the call');
  assert.ok(!tooLate || tooLate.code === grpc.status.DEADLINE_EXCEEDED, `only that: ${tooLate}`);
  const sold = (await call(stock, 'RecordSale', request)).reply.receipt;
  const { item } = await itemAt(sold.token);
  assert.deepEqual([item.onHand, item.unitsSold], [7, 3], 'the sale was applied once');
  const outcome = tooLate ? 'was given up after 1 ms' : 'was answered within 1 ms';
  console.log(`a sale ${outcome}, sent again, and applied once`);
}

/** The error of a call that must fail. */
function refused(promise) {
  return promise.then(() => assert.fail('it was not refused'), (error) => error);
}

/** A reason to branch on, and for a wrong request every field that is wrong. */
async function beRefused() {
  const tooMany = problemOf(await refused(call(stock, 'RecordSale', sale(1000))));
  assert.equal(tooMany.code, grpc.status.FAILED_PRECONDITION);
  assert.deepEqual([tooMany.domain, tooMany.reason], ['stores', 'INSUFFICIENT_STOCK']);
  const wrong = { name: '', city: 'Bergen', currency: 'kr' };
  const problem = problemOf(await refused(call(commands, 'OpenStore', wrong)));
  assert.equal(problem.code, grpc.status.INVALID_ARGUMENT);
  assert.deepEqual([problem.domain, problem.reason], ['headwater', 'INVALID_REQUEST']);
  assert.deepEqual(Object.keys(problem.fields).sort(), ['currency', 'name'], 'both fields');
  console.log('was refused for INSUFFICIENT_STOCK, and for two wrong fields at once');
}

const sell = async () => (await call(stock, 'RecordSale', sale(1))).reply.receipt;

/** The versions that a watch tells of, up to this one, and what resumes after it. */
async function watchUntil(version, request) {
  const told = [];
  const stream = items.WatchItem({ itemId: shop.itemId, ...request }, { deadline: Date.now() + 10_000 });
  try {
    for await (const message of stream) {
      // A message without a change says that time has passed.
      told.push(...message.changes.map(({ item }) => item.version));
      if (told.includes(version)) return { told, resumeToken: message.resumeToken };
    }
  } catch (error) {
    assert.equal(error.code, grpc.status.CANCELLED, error);
  } finally {
    stream.on('error', () => {}).cancel();
  }
  return assert.fail('the stream has ended');
}

/** A stream of changes without a gap, although nobody listens to it for a while. */
async function watchAndResume() {
  const first = await sell();
  const begun = await watchUntil(first.version, { consistency: { atLeast: first.token } });
  assert.deepEqual(begun.told, [first.version], 'it begins with the state');
  let last;
  for (let sales = 0; sales < 3; sales += 1) last = await sell();
  const request = { options: { resumeAfter: begun.resumeToken } };
  const { told } = await watchUntil(last.version, request);
  assert.ok(told[0] > first.version && told.every((version, n) => !n || version > told[n - 1]), told);
  console.log('watched an item, cancelled, and resumed the watch where it had ended');
}

async function main() {
  await openAStore();
  await listItemsAndReceiveStock();
  await sellOnceByTwoCalls();
  await readTheSaleByItsToken();
  await readOwnWritesByAnInterceptor();
  await listPageByPage();
  await keepADeadline();
  await beRefused();
  await watchAndResume();
  console.log('all as it should be');
}

main().catch((error) => {
  console.error('NOT AS IT SHOULD BE:', error);
  process.exitCode = 1;
}).finally(() => [commands, stock, items].forEach((client) => client.close()));
