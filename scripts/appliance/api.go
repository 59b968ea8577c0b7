package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const base = "http://127.0.0.1"

// owner makes an API key of the instance's owner.
func owner(ctx context.Context, m *machine) (string, error) {
	if err := get(ctx, m, http.StatusOK, "Hello"); err != nil { // the database runs with the server
		return "", err
	}
	return m.run(ctx, `set -a; . /etc/picloud/environment; unset PICLOUD_SECRET_KEY_FILE
		picloud migrate --owner-token /run/owner-token; cat /run/owner-token`)
}

// call sends a request to the API as the owner, and decodes the answer into to
// unless that is nil.
func call(ctx context.Context, m *machine, method, path, body string, to any) error {
	token, err := owner(ctx, m)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, base+"/api/v1/apps/default/"+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	client := m.client()
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, text)
	}
	if to == nil {
		return nil
	}
	return json.Unmarshal(text, to)
}

// deploy saves a script of the name, reached at /NAME.
func deploy(ctx context.Context, m *machine, name, source string) error {
	scripts, err := json.Marshal(map[string]any{"scripts": []any{map[string]any{
		"name": name, "source": source, "routes": []any{map[string]any{"path": "/" + name}},
	}}})
	if err != nil {
		return err
	}
	return call(ctx, m, http.MethodPost, "deploy", string(scripts), nil)
}

// numbers are the entries of a collection whose values are numbers.
func numbers(ctx context.Context, m *machine, collection string) (map[string]int64, error) {
	var page struct {
		Entries []struct {
			Key   string
			Value int64
		}
	}
	if err := call(ctx, m, http.MethodGet, "kv/"+collection+"?values=true&limit=1000", "", &page); err != nil {
		return nil, err
	}
	all := map[string]int64{}
	for _, e := range page.Entries {
		all[e.Key] = e.Value
	}
	return all, nil
}
