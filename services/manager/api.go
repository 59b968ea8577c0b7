package manager

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/picloud/picloud/services/cloud"
)

// Bounds of request bodies in bytes. JSON escapes make a source longer.
const (
	maxBody       = 1 << 20
	maxScriptBody = 2*cloud.MaxSource + maxBody
	maxDeployBody = 4*cloud.MaxSource + maxBody
	bodyTimeout   = time.Minute
)

// prefix is where the API lives on instance hosts.
const prefix = "/api/v1"

// newAPI registers all operations, which takes some milliseconds: a start that
// nobody asks for the API does without.
func (m *Manager) newAPI() http.Handler {
	schemas := huma.NewMapRegistry("#/components/schemas/", schemaName)
	schemas.RegisterTypeAlias(reflect.TypeFor[huma.ErrorModel](), reflect.TypeFor[cloud.Problem]())
	mux := http.NewServeMux()
	api := humago.New(patterns{mux}, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "PiCloud",
				Version:     "1",
				Description: "The control plane of a PiCloud instance. Errors are application/problem+json with a stable code.",
				License:     &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Components: &huma.Components{
				Schemas: schemas,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"key":     {Type: "http", Scheme: "bearer", Description: "An API key, pic_…"},
					"session": {Type: "http", Scheme: "bearer", Description: "The token of a session, pis_…"},
					"cookie": {
						Type: "apiKey", In: "cookie", Name: cloud.SessionCookie,
						Description: "The token of a session; over TLS the cookie is called " + cloud.SecureSessionCookie,
					},
				},
			},
		},
		Formats:       huma.DefaultFormats,
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{validationProblem},
	})
	m.registerInstance(api)
	m.registerDevice(api)
	m.registerClaim(api)
	m.registerSessions(api)
	m.registerMe(api)
	m.registerAPIKeys(api)
	m.registerUsers(api)
	m.registerAudit(api)
	m.registerApps(api)
	m.registerMembers(api)
	m.registerEnv(api)
	m.registerDomains(api)
	m.registerScripts(api)
	m.registerRoutes(api)
	m.registerTriggers(api)
	m.registerExecutions(api)
	m.registerDeadLetters(api)
	m.registerKV(api)
	m.document = sync.OnceValues(func() ([]byte, error) {
		document, err := json.MarshalIndent(api.OpenAPI(), "", "  ")
		return append(document, '\n'), err
	})
	mux.HandleFunc("/", m.unknown(mux))
	return mux
}

// patterns lets the {key} of an entry match all that is left of a path: the mux
// takes a last segment that is %2F alone for a trailing slash.
type patterns struct{ *http.ServeMux }

func (p patterns) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	p.ServeMux.HandleFunc(strings.Replace(pattern, "{collection}/{key}", "{collection}/{key...}", 1), handler)
}

// schemaName names the schemas after their Go types: fooJSON is Foo, the body of
// a fooInput FooRequest, of a fooOutput FooResponse, of an items[foo] FooList.
func schemaName(t reflect.Type, hint string) string {
	name := strings.ReplaceAll(huma.DefaultSchemaNamer(t, hint), "JSON", "")
	name, isBody := strings.CutSuffix(name, "Body")
	if !isBody {
		return name
	}
	if item, ok := strings.CutPrefix(name, "Items"); ok {
		return item + "List"
	}
	if request, ok := strings.CutSuffix(name, "Input"); ok {
		return request + "Request"
	}
	return strings.TrimSuffix(name, "Output") + "Response"
}

// orNull makes a property that is an object nullable, which huma's tags cannot
// say.
func orNull(s *huma.Schema, property string) *huma.Schema {
	object := s.Properties[property]
	s.Properties[property] = &huma.Schema{
		Description: object.Description,
		AnyOf:       []*huma.Schema{{Ref: object.Ref}, {Type: "null"}},
	}
	return s
}

// operation registers handle under op, behind the rule that access has for it.
func operation[I, O any](m *Manager, api huma.API, op huma.Operation, handle func(context.Context, *caller, *I) (*O, error)) {
	rule := access[op.OperationID]
	op.Security = security(rule)
	op.Extensions = map[string]any{}
	if len(rule.needs) > 0 {
		op.Extensions["x-picloud-capabilities"] = slices.Clone(rule.needs)
	}
	if rule.origin {
		op.Extensions["x-picloud-origin"] = true
	}
	if rule.unclaimed {
		op.Extensions["x-picloud-unclaimed"] = true
	}
	op.RejectUnknownQueryParameters = !rule.open // probes of health may carry anything
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = maxBody
	}
	op.MaxBodyBytes++ // huma refuses a body of exactly the limit
	op.BodyReadTimeout = bodyTimeout
	op.Middlewares = huma.Middlewares{m.admit(op, rule)}
	id := op.OperationID
	huma.Register(api, op, func(ctx context.Context, in *I) (*O, error) {
		c := ctx.Value(callerKey{}).(*caller)
		out, err := handle(ctx, c, in)
		if err != nil {
			return nil, m.failure(ctx, c, id, err)
		}
		return out, nil
	})
}

// security names the kinds of credentials that an operation takes.
func security(rule rule) []map[string][]string {
	session := []map[string][]string{{"session": {}}, {"cookie": {}}}
	switch {
	case rule.open:
		return nil
	case rule.session:
		return session
	default:
		return append([]map[string][]string{{"key": {}}}, session...)
	}
}

// failed is an error as huma writes it.
type failed struct {
	cloud.Problem
	header http.Header
}

func (f *failed) Error() string             { return f.Detail }
func (f *failed) GetStatus() int            { return f.Status }
func (f *failed) GetHeaders() http.Header   { return f.header }
func (f *failed) ContentType(string) string { return "application/problem+json" }

// failure turns the error of an operation into its answer. The log gets what
// the answer must not tell.
func (m *Manager) failure(ctx context.Context, c *caller, operation string, err error) *failed {
	p := cloud.ProblemOf(err)
	if p.Code == cloud.CodeInternal && ctx.Err() == nil {
		m.log.ErrorContext(ctx, "an operation failed", "operation", operation, "app_id", c.app.ID, "error", err)
	}
	switch d := p.Details.(type) {
	case RouteConflict:
		p.Details = conflictJSON{Conflict: m.routeJSON(ctx, c, d.Route, d.Script)}
	case []cloud.Diagnostic:
		p.Details = diagnosticsJSON{Diagnostics: d}
	}
	f := &failed{Problem: p, header: http.Header{}}
	if after := p.RetryAfter(); after > 0 {
		f.header.Set("Retry-After", strconv.Itoa(after))
	}
	if p.Status == http.StatusUnauthorized {
		f.header.Set("WWW-Authenticate", challenge)
	}
	return f
}

// challenge is how a 401 says what to send (RFC 9110, section 11.6.1).
const challenge = `Bearer realm="picloud"`

// refuse answers a request that did not reach its operation.
func (m *Manager) refuse(w http.ResponseWriter, r *http.Request, operation string, err error) {
	p := cloud.ProblemOf(err)
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	if p.Code == cloud.CodeInternal && r.Context().Err() == nil {
		m.log.ErrorContext(r.Context(), "a request could not be admitted", "operation", operation, "error", err)
	}
	p.WriteTo(w)
}

// nothing answers a request that names nothing of the API with err, or with the
// reason why nobody gets to know that yet.
func (m *Manager) nothing(w http.ResponseWriter, r *http.Request, err error) {
	if unclaimed := m.claimed(r.Context()); unclaimed != nil {
		err = unclaimed
	}
	m.refuse(w, r, "", err)
}

// methods are those of the API's operations.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// unknown answers what no operation does.
func (m *Manager) unknown(mux *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, method := range methods {
			other := *r
			other.Method = method
			if _, pattern := mux.Handler(&other); pattern != "/" {
				allowed = append(allowed, method)
			}
		}
		if len(allowed) == 0 {
			m.nothing(w, r, cloud.Errorf(cloud.CodeNotFound, "the API has nothing at %s; %s/openapi.json lists what it has", r.URL.Path, prefix))
			return
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		m.nothing(w, r, cloud.Errorf(cloud.CodeMethodNotAllowed, "%s does not take %s; it takes %s", r.URL.Path, r.Method, strings.Join(allowed, ", ")))
	}
}

// invalidJSON are the Details of a request that does not have the form that the
// API describes.
type invalidJSON struct {
	Errors []fieldErrorJSON `json:"errors"`
}

type fieldErrorJSON struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// validationProblem rewrites huma's own errors, which are about the form of a
// request, as problems of PiCloud. It leaves out the refused values, which may
// be long or secret.
func validationProblem(hctx huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	if e.Status == http.StatusRequestEntityTooLarge {
		p := cloud.ProblemOf(cloud.Errorf(cloud.CodeTooLarge, "the body is over the limit of %d bytes", hctx.Operation().MaxBodyBytes-1))
		return p, nil
	}
	if e.Status >= http.StatusInternalServerError {
		return cloud.ProblemOf(errors.New(e.Detail)), nil
	}
	p := cloud.ProblemOf(cloud.Invalid("", "%s", e.Detail))
	p.Status, p.Title = e.Status, http.StatusText(e.Status)
	var details invalidJSON
	for _, d := range e.Errors {
		details.Errors = append(details.Errors, fieldError(d))
	}
	// huma visits what a body has in no particular order.
	slices.SortStableFunc(details.Errors, func(a, b fieldErrorJSON) int { return strings.Compare(a.Field, b.Field) })
	if len(details.Errors) > 0 {
		p.Field = details.Errors[0].Field
		p.Detail = strings.TrimPrefix(p.Field+": "+details.Errors[0].Message, ": ")
		p.Details = details
	}
	return p, nil
}

// fieldError says what is wrong with which field, in the terms of a caller who
// knows the body and the query but not where huma keeps them.
func fieldError(d *huma.ErrorDetail) fieldErrorJSON {
	place, field, _ := strings.Cut(d.Location, ".")
	if place != "body" && place != "query" && place != "path" {
		field = d.Location
	}
	f := fieldErrorJSON{Field: field, Message: d.Message}
	if name, ok := strings.CutPrefix(f.Message, "expected required property "); ok {
		name = strings.TrimSuffix(name, " to be present")
		f.Field = strings.TrimPrefix(f.Field+"."+name, ".")
		f.Message = "is missing"
	}
	switch f.Message {
	case "unexpected property":
		f.Message = "there is no such field"
	case "unknown query parameter":
		f.Message = "there is no such parameter"
	}
	return f
}
