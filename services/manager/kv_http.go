package manager

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picloud/picloud/services/cloud"
)

type entryJSON struct {
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value,omitempty" doc:"Any JSON value; absent in lists that did not ask for it"`
	Version   int64           `json:"version"`
	ExpiresAt *time.Time      `json:"expires_at,omitempty"`
	UpdatedAt time.Time       `json:"updated_at"`
}

func newEntryJSON(e cloud.KVEntry) entryJSON {
	out := entryJSON{Key: e.Key, Value: e.Value, Version: e.Version, UpdatedAt: e.UpdatedAt.UTC()}
	if !e.ExpiresAt.IsZero() {
		at := e.ExpiresAt.UTC()
		out.ExpiresAt = &at
	}
	return out
}

// KeyPath is the part of a path that names an entry of an app.
type KeyPath struct {
	AppPath
	Collection string `path:"collection"`
	Key        string `path:"key" doc:"Percent-encoded"`
}

func (m *Manager) registerKV(api huma.API) {
	type collectionsInput struct {
		AppPath
		After string `query:"after" doc:"Only names after this one"`
		Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	}
	type collectionsOutput struct {
		Body struct {
			Collections []string `json:"collections" nullable:"false"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "list-collections", Method: http.MethodGet, Path: prefix + "/apps/{app}/kv", Tags: []string{"kv"},
		Summary: "List the collections that have entries",
	}, func(ctx context.Context, c *caller, in *collectionsInput) (*collectionsOutput, error) {
		names, err := m.kv.Collections(ctx, c.call(), in.After, in.Limit)
		out := &collectionsOutput{}
		out.Body.Collections = append([]string{}, names...)
		return out, err
	})

	type listInput struct {
		AppPath
		Collection string `path:"collection"`
		Prefix     string `query:"prefix"`
		Limit      int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
		Cursor     string `query:"cursor" doc:"From the page before"`
		Values     bool   `query:"values" doc:"With values"`
	}
	type keysOutput struct {
		Body struct {
			Entries []entryJSON `json:"entries" nullable:"false"`
			Cursor  string      `json:"cursor,omitempty" doc:"For the next page; absent at the end"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "list-keys", Method: http.MethodGet, Path: prefix + "/apps/{app}/kv/{collection}", Tags: []string{"kv"},
		Summary: "List a collection's entries in the order of their keys",
	}, func(ctx context.Context, c *caller, in *listInput) (*keysOutput, error) {
		page, err := m.kv.List(ctx, c.call(), in.Collection, cloud.KVQuery{Prefix: in.Prefix, Limit: in.Limit, Cursor: in.Cursor, Values: in.Values})
		if err != nil {
			return nil, err
		}
		out := &keysOutput{}
		out.Body.Cursor = page.Cursor
		out.Body.Entries = make([]entryJSON, len(page.Entries))
		for i, e := range page.Entries {
			out.Body.Entries[i] = newEntryJSON(e)
		}
		return out, nil
	})

	operation(m, api, huma.Operation{
		OperationID: "get-key", Method: http.MethodGet, Path: prefix + "/apps/{app}/kv/{collection}/{key}", Tags: []string{"kv"},
		Summary: "Show an entry",
	}, func(ctx context.Context, c *caller, in *KeyPath) (*body[entryJSON], error) {
		e, present, err := m.kv.Get(ctx, c.call(), in.Collection, in.Key)
		if err == nil && !present {
			err = noKey(in)
		}
		return &body[entryJSON]{newEntryJSON(e)}, err
	})

	type setKeyInput struct {
		KeyPath
		Body struct {
			Value      json.RawMessage `json:"value" doc:"Any JSON value"`
			TTLSeconds float64         `json:"ttl_seconds,omitempty" doc:"Until the entry expires; never if absent"`
			IfVersion  *int64          `json:"if_version,omitempty" doc:"Change it only if it has this version; 0: only if it is absent"`
		}
	}
	operation(m, api, huma.Operation{
		OperationID: "set-key", Method: http.MethodPut, Path: prefix + "/apps/{app}/kv/{collection}/{key}", Tags: []string{"kv"},
		Summary: "Store a value",
	}, func(ctx context.Context, c *caller, in *setKeyInput) (*body[entryJSON], error) {
		ttl, err := ttl(in.Body.TTLSeconds)
		if err != nil {
			return nil, err
		}
		e, err := m.kv.Set(ctx, c.call(), in.Collection, in.Key, in.Body.Value, cloud.KVSet{TTL: ttl, IfVersion: in.Body.IfVersion})
		return &body[entryJSON]{newEntryJSON(e)}, inSetKey(err)
	})

	operation(m, api, huma.Operation{
		OperationID: "delete-key", Method: http.MethodDelete, Path: prefix + "/apps/{app}/kv/{collection}/{key}", Tags: []string{"kv"},
		Summary: "Delete an entry",
	}, func(ctx context.Context, c *caller, in *KeyPath) (*struct{}, error) {
		present, err := m.kv.Delete(ctx, c.call(), in.Collection, in.Key)
		if err == nil && !present {
			err = noKey(in)
		}
		return &struct{}{}, err
	})
}

func noKey(in *KeyPath) error {
	return cloud.Errorf(cloud.CodeNotFound, "the collection %q has no key %q", in.Collection, in.Key)
}

// ttl refuses what a Duration cannot hold; whether it is positive is the
// service's to judge.
func ttl(seconds float64) (time.Duration, error) {
	if math.Abs(seconds) >= math.MaxInt64/float64(time.Second) {
		return 0, cloud.Invalid("ttl_seconds", "%g seconds are over 292 years; leave it out for an entry that never expires", seconds)
	}
	return time.Duration(math.Ceil(seconds * float64(time.Second))), nil // a positive one is never 0
}

// setKeyFields are the arguments of cloud.KV.Set by the names that the service
// calls them in its errors.
var setKeyFields = map[string]string{"ttl": "ttl_seconds", "ifVersion": "if_version"}

// inSetKey returns err with its field as the API calls it.
func inSetKey(err error) error {
	var e *cloud.Error
	if !errors.As(err, &e) || setKeyFields[e.Field] == "" {
		return err
	}
	c := *e
	c.Field = setKeyFields[e.Field]
	return &c
}
