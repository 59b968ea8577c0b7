package caddycloud

import (
	"slices"
	"testing"
)

func TestMachineHosts(t *testing.T) {
	t.Parallel()
	for hostname, want := range map[string][]string{
		"Pi":              {"pi", "pi.local"},
		"pi.example.com":  {"pi.example.com", "pi", "pi.local"},
		"picloud.local":   {"picloud.local", "picloud", "picloud.local"},
		"":                nil,
		"(none)":          nil,
		"10.0.0.7":        nil,
		"not_a_host_name": nil,
	} {
		if got := machineHosts(hostname); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", hostname, got, want)
		}
	}
}
