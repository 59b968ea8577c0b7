package main_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/picloud/picloud/services/cloudtest"
)

// TestBuild_ThatOverflowsTheCompiler shows that a source made to break the
// compiler is refused, and that the server lives on.
func TestBuild_ThatOverflowsTheCompiler(t *testing.T) {
	t.Parallel()
	d := cloudtest.StartDev(t)
	pid := d.PID()
	body, err := json.Marshal(map[string]string{"language": "js", "source": "export default () => " + strings.Repeat("-+", 100_000) + "1"})
	if err != nil {
		t.Fatal(err)
	}
	status, answer := d.Do(http.MethodPut, "/api/v1/apps/default/scripts/deep", string(body))
	if status != http.StatusUnprocessableEntity || !strings.Contains(answer, `"build_failed"`) {
		t.Errorf("got %d %.500s", status, answer)
	}
	if status, answer = d.Do(http.MethodGet, "/hello", ""); status != http.StatusOK || d.PID() != pid {
		t.Errorf("afterwards: %d %s", status, answer)
	}
}
