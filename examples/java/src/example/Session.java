package example;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;

/**
 * Sends the token of the last reply with the next call, so that every query sees at least what this
 * session has written and seen before. Copy it, and give it to a stub by {@code withInterceptors}.
 *
 * <p>One session is one flow of calls, such as one user's request. Calls that run at the same time
 * need a session each: of two replies the older one may come last.
 */
final class Session implements ClientInterceptor {
  static final Metadata.Key<String> TOKEN =
      Metadata.Key.of("headwater-token", Metadata.ASCII_STRING_MARSHALLER);

  private volatile String token = "";

  String token() {
    return token;
  }

  private void remember(Metadata received) {
    if (received.containsKey(TOKEN)) {
      token = received.get(TOKEN);
    }
  }

  @Override
  public <Q, R> ClientCall<Q, R> interceptCall(
      MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
    return new SimpleForwardingClientCall<>(next.newCall(method, options)) {
      @Override
      public void start(Listener<R> listener, Metadata sent) {
        if (!token.isEmpty() && !sent.containsKey(TOKEN)) {
          sent.put(TOKEN, token);
        }
        super.start(new Remembering<>(listener), sent);
      }
    };
  }

  /** A reply carries the token in front of its message, a NOT_FOUND, which is dated too, behind. */
  private final class Remembering<R> extends SimpleForwardingClientCallListener<R> {
    Remembering(ClientCall.Listener<R> listener) {
      super(listener);
    }

    @Override
    public void onHeaders(Metadata received) {
      remember(received);
      super.onHeaders(received);
    }

    @Override
    public void onClose(Status status, Metadata received) {
      remember(received);
      super.onClose(status, received);
    }
  }
}
