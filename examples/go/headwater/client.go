// Package headwater is all that a Go client of Headwater needs beside the generated code. Copy it.
package headwater

import (
	"context"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// TokenKey is the metadata that carries a token, both ways.
const TokenKey = "headwater-token"

// Session sends the token of the last reply with the next call, so that every query sees at least
// what this session has written and seen before.
//
// One session is one flow of calls, such as one user's request, and travels in its context. Calls
// that run at the same time need a session each: of two replies the older one may come last.
type Session struct{ Token string }

type sessionKey struct{}

// WithSession makes the calls of a context those of a session.
func WithSession(ctx context.Context, session *Session) context.Context {
	return context.WithValue(ctx, sessionKey{}, session)
}

// Intercept is for grpc.WithUnaryInterceptor.
func Intercept(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	session, found := ctx.Value(sessionKey{}).(*Session)
	if !found {
		return invoke(ctx, method, request, reply, conn, options...)
	}
	if session.Token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, TokenKey, session.Token)
	}
	var header, trailer metadata.MD
	options = append(options, grpc.Header(&header), grpc.Trailer(&trailer))
	err := invoke(ctx, method, request, reply, conn, options...)
	// A reply carries the token in front of its message, a NOT_FOUND, which is dated too, behind it.
	for _, received := range append(header.Get(TokenKey), trailer.Get(TokenKey)...) {
		session.Token = received
	}
	return err
}

// Problem says why a call was refused; docs/errors.md lists every domain and reason.
type Problem struct {
	Code           codes.Code
	Domain, Reason string
	// Facts, such as current_version.
	Facts map[string]string
	// What is wrong with each field of the request.
	Fields map[string]string
	// How long to wait before trying again; 0 if that is not known to help.
	RetryAfter time.Duration
}

// ProblemOf decodes the details of a call's error.
func ProblemOf(err error) Problem {
	problem := Problem{Code: status.Code(err), Fields: map[string]string{}}
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			problem.Domain, problem.Reason, problem.Facts = detail.Domain, detail.Reason, detail.Metadata
		case *errdetails.BadRequest:
			for _, wrong := range detail.FieldViolations {
				problem.Fields[wrong.Field] = wrong.Description
			}
		case *errdetails.RetryInfo:
			problem.RetryAfter = detail.RetryDelay.AsDuration()
		}
	}
	return problem
}
