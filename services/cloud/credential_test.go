package cloud

import (
	"net/http"
	"testing"
)

func TestBearerToken(t *testing.T) {
	for header, want := range map[string]string{
		"": "", "Bearer pic_a": "pic_a", "bearer  pic_a ": "pic_a", "Bearer": "", "Basic pic_a": "", "pic_a": "", "Bearerpic_a": "",
	} {
		r := &http.Request{Header: http.Header{"Authorization": {header}}}
		if got := BearerToken(r); got != want {
			t.Errorf("%q holds %q, want %q", header, got, want)
		}
	}
}
