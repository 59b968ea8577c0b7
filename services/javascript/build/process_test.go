package build_test

import (
	"context"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/build"
)

// The test binary is its own build process when it is called with this word.
const serveWord = "serve-one-build"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serveWord {
		if err := build.Serve(context.Background(), os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

func delegating(t *testing.T, timeout time.Duration) *build.Builder {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return build.New(build.Config{Command: []string{self, serveWord}, Timeout: timeout})
}

func TestBuild_InAProcess(t *testing.T) {
	t.Parallel()
	mods := modules(source("mod", cloud.TypeScript, "export const a: number = 1"))
	here, there := build.New(build.Config{}), delegating(t, 0)
	for _, text := range []string{
		"import { a } from './mod'; export default a + '🦔'",
		"import { b } from './mod'; export default b",
		"export default \n(;",
	} {
		entry := source("main", cloud.JavaScript, text)
		want, wantErr := here.Build(t.Context(), entry, mods)
		got, gotErr := there.Build(t.Context(), entry, mods)
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(gotErr, wantErr) {
			t.Errorf("%q: %+v, %#v in a process; %+v, %#v here", text, got, gotErr, want, wantErr)
		}
	}
}

func TestBuild_SurvivesDeepNesting(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	b := delegating(t, 0)
	for _, text := range []string{
		"export default " + strings.Repeat("-+", 500_000) + "1",
		"export default " + strings.Repeat("a=>", 500_000) + "1",
	} {
		_, err := b.Build(t.Context(), source("main", cloud.TypeScript, text), nil)
		if cloud.CodeOf(err) != cloud.CodeBuildFailed || !strings.Contains(err.Error(), "nested too deeply") {
			t.Errorf("%.30s…: %v, want CodeBuildFailed that says so", text, err)
		}
	}
}

func TestBuild_EndsItsProcess(t *testing.T) {
	t.Parallel()
	_, err := delegating(t, time.Nanosecond).Build(t.Context(), source("main", cloud.JavaScript, "export default 1"), nil)
	if cloud.CodeOf(err) != cloud.CodeLimit {
		t.Errorf("after the timeout: %v, want CodeLimit", err)
	}
	_, err = build.New(build.Config{Command: []string{"/nonexistent"}}).Build(t.Context(), source("main", cloud.JavaScript, "export default 1"), nil)
	if cloud.CodeOf(err) != cloud.CodeInternal {
		t.Errorf("without a program: %v, want CodeInternal", err)
	}
}

func TestServe_RefusesGarbage(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := build.Serve(t.Context(), strings.NewReader("{"), &out); err == nil || out.Len() > 0 {
		t.Errorf("error %v, output %q; want an error and no output", err, out.String())
	}
}
