package diagnostic_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/diagnostic"
)

func TestFromMessage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		message api.Message
		want    cloud.Diagnostic
	}{
		{api.Message{Text: "no"}, cloud.Diagnostic{File: "main.ts", Line: 1, Column: 1, Message: "no"}},
		{
			api.Message{Text: "no", Notes: []api.Note{{Text: "Because."}}, Location: &api.Location{File: "a.ts", Line: 3, Column: 7, LineText: "é🦔 x"}},
			cloud.Diagnostic{File: "a.ts", Line: 3, Column: 5, Message: "no (Because)", SourceLine: "é🦔 x"},
		},
		{
			api.Message{Text: "end", Location: &api.Location{File: "a.ts", Line: 1, Column: 99, LineText: "x"}},
			cloud.Diagnostic{File: "a.ts", Line: 1, Column: 2, Message: "end", SourceLine: "x"},
		},
	} {
		if got := diagnostic.FromMessage(tc.message, "main.ts"); got != tc.want {
			t.Errorf("got %+v, want %+v", got, tc.want)
		}
	}
}

func TestFailed(t *testing.T) {
	t.Parallel()
	ds := make([]cloud.Diagnostic, 30)
	for i := range ds {
		ds[i] = cloud.Diagnostic{File: "a.ts", Line: i + 1, Column: 2, Message: "no", SourceLine: strings.Repeat("é", 1000)}
	}
	err := diagnostic.Failed(ds)
	if err.Code != cloud.CodeBuildFailed || err.Message != "a.ts:1:2: no" {
		t.Errorf("%s %q", err.Code, err.Message)
	}
	kept := err.Details.([]cloud.Diagnostic)
	if len(kept) != diagnostic.Max || kept[0].SourceLine != strings.Repeat("é", 240)+"…" {
		t.Errorf("%d diagnostics with a line of %d bytes", len(kept), len(kept[0].SourceLine))
	}
	if got := diagnostic.Whole("a.ts", "%d", 1).Details; !reflect.DeepEqual(got, []cloud.Diagnostic{{File: "a.ts", Line: 1, Column: 1, Message: "1"}}) {
		t.Errorf("got %+v", got)
	}
}
