'use strict';
// All that a Node client of Headwater needs beside the protos. Copy it, with google_rpc.proto.

const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');
const protobuf = require('protobufjs');

const TOKEN = 'headwater-token';
const DETAILS = protobuf.loadSync(path.join(__dirname, 'google_rpc.proto'));

/** The packages of some proto files below a folder; 64-bit numbers as numbers, enums as names. */
function loadProtos(folder, files) {
  const options = { includeDirs: [folder], defaults: true, longs: Number, enums: String };
  return grpc.loadPackageDefinition(protoLoader.loadSync(files, options));
}

/**
 * Sends the token of the last reply with the next call, so that every query sees at least what this
 * session has written and seen before.
 *
 * One session is one flow of calls, such as one user's request. Calls that run at the same time
 * need a session each: of two replies the older one may come last.
 */
class Session {
  constructor(token = '') {
    this.token = token;
    /** For the `interceptors` of a client. */
    this.interceptor = (options, nextCall) =>
      new grpc.InterceptingCall(nextCall(options), { start: this.#start.bind(this) });
  }

  #start(metadata, listener, next) {
    if (this.token && metadata.get(TOKEN).length === 0) metadata.set(TOKEN, this.token);
    // A reply carries the token in front of its message, a NOT_FOUND, which is dated too, behind it.
    next(metadata, {
      onReceiveMetadata: (received, next) => next(this.#remember(received)),
      onReceiveStatus: (status, next) => {
        this.#remember(status.metadata);
        next(status);
      },
    });
  }

  #remember(metadata) {
    this.token = metadata.get(TOKEN)[0] ?? this.token;
    return metadata;
  }
}

/**
 * One call with a deadline, as a promise of the reply and the metadata that came with it.
 * `metadata` is a plain object, `ms` the time that the call may take.
 */
function call(client, method, request, { metadata = {}, ms = 10_000 } = {}) {
  const sent = new grpc.Metadata();
  for (const [name, value] of Object.entries(metadata)) sent.set(name, value);
  return new Promise((resolve, reject) => {
    let received;
    const deadline = Date.now() + ms;
    const done = (error, reply) => (error ? reject(error) : resolve({ reply, metadata: received }));
    const started = client[method](request, sent, { deadline }, done);
    started.on('metadata', (metadata) => (received = metadata.getMap()));
  });
}

/** Why a call was refused, from its error; docs/errors.md lists every domain and reason. */
function problemOf(error) {
  const problem = { code: error.code, domain: '', reason: '', facts: {}, fields: {} };
  const [bytes] = error.metadata?.get('grpc-status-details-bin') ?? [];
  const details = bytes ? DETAILS.lookupType('google.rpc.Status').decode(bytes).details : [];
  for (const { type_url: url, value } of details) {
    const name = url.split('/').pop();
    if (name === 'google.rpc.ErrorInfo') {
      const { domain, reason, metadata } = DETAILS.lookupType(name).decode(value);
      Object.assign(problem, { domain, reason, facts: metadata });
    } else if (name === 'google.rpc.BadRequest') {
      for (const wrong of DETAILS.lookupType(name).decode(value).fieldViolations) {
        problem.fields[wrong.field] = wrong.description;
      }
    } else if (name === 'google.rpc.RetryInfo') {
      const { seconds, nanos } = DETAILS.lookupType(name).decode(value).retryDelay;
      problem.retryAfterMs = Number(seconds) * 1000 + nanos / 1e6;
    }
  }
  return problem;
}

module.exports = { TOKEN, Session, call, loadProtos, problemOf };
