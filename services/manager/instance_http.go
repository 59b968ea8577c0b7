package manager

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/picloud/picloud/services/cloud"
)

type healthJSON struct {
	Status string `json:"status" enum:"ok"`
}

type body[T any] struct {
	Body T
}

// items is the body of a list.
type items[T any] struct {
	Body struct {
		Items []T `json:"items" nullable:"false"`
	}
}

func listOf[T any](list []T) *items[T] {
	var out items[T]
	out.Body.Items = list
	if list == nil {
		out.Body.Items = []T{}
	}
	return &out
}

// problemResponse describes the errors of operations whose answers are not JSON.
var problemResponse = &huma.Response{
	Description: "Error",
	Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: &huma.Schema{Ref: "#/components/schemas/Problem"}}},
}

type openapiOutput struct {
	ContentType  string `header:"Content-Type"`
	CacheControl string `header:"Cache-Control"`
	Body         []byte
}

func (m *Manager) registerInstance(api huma.API) {
	operation(m, api, huma.Operation{
		OperationID: "health", Method: http.MethodGet, Path: "/healthz", Tags: []string{"instance"},
		Summary: "Tell that the server answers; on every host",
	}, func(context.Context, *caller, *struct{}) (*body[healthJSON], error) {
		return &body[healthJSON]{healthJSON{Status: "ok"}}, nil
	})
	operation(m, api, huma.Operation{
		OperationID: "version", Method: http.MethodGet, Path: "/version", Tags: []string{"instance"},
		Summary: "Tell what is running",
	}, func(context.Context, *caller, *struct{}) (*body[Version], error) {
		return &body[Version]{m.version}, nil
	})
	operation(m, api, huma.Operation{
		OperationID: "openapi", Method: http.MethodGet, Path: prefix + "/openapi.json", Tags: []string{"instance"},
		Summary: "Describe the API, as OpenAPI 3.1",
	}, func(context.Context, *caller, *struct{}) (*openapiOutput, error) {
		document, err := m.document()
		return &openapiOutput{ContentType: "application/openapi+json", CacheControl: "no-cache", Body: document}, err
	})

	type metricsOutput struct {
		Body func(huma.Context)
	}
	operation(m, api, huma.Operation{
		OperationID: "metrics", Method: http.MethodGet, Path: prefix + "/metrics", Tags: []string{"instance"},
		Summary: "Show measurements of the instance, as Prometheus reads them",
		Responses: map[string]*huma.Response{"200": {
			Description: "Prometheus text format",
			Content:     map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}},
		}, "default": problemResponse},
	}, func(context.Context, *caller, *struct{}) (*metricsOutput, error) {
		if m.metrics == nil {
			return nil, cloud.Errorf(cloud.CodeUnavailable, "this server measures nothing")
		}
		return &metricsOutput{Body: func(hctx huma.Context) {
			r, w := humago.Unwrap(hctx)
			m.metrics.ServeHTTP(w, r)
		}}, nil
	})
}
