package example;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;

/**
 * Why a call was refused; docs/errors.md lists every domain and reason. Copy it.
 *
 * @param facts such as {@code current_version}
 * @param fields what is wrong with each field of the request
 * @param retryAfter how long to wait before trying again; zero if that is not known to help
 */
record Problem(
    Status.Code code,
    String domain,
    String reason,
    Map<String, String> facts,
    Map<String, String> fields,
    Duration retryAfter) {

  /** Decodes the details of a call's error. */
  static Problem of(StatusRuntimeException error) {
    var info = ErrorInfo.getDefaultInstance();
    var fields = new HashMap<String, String>();
    var retryAfter = Duration.ZERO;
    try {
      for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          info = detail.unpack(ErrorInfo.class);
        } else if (detail.is(BadRequest.class)) {
          for (var wrong : detail.unpack(BadRequest.class).getFieldViolationsList()) {
            fields.put(wrong.getField(), wrong.getDescription());
          }
        } else if (detail.is(RetryInfo.class)) {
          var delay = detail.unpack(RetryInfo.class).getRetryDelay();
          retryAfter = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
        }
      }
    } catch (InvalidProtocolBufferException damaged) {
      throw new IllegalStateException("the details cannot be decoded", damaged);
    }
    var code = error.getStatus().getCode();
    var facts = info.getMetadataMap();
    return new Problem(code, info.getDomain(), info.getReason(), facts, fields, retryAfter);
  }
}
