package cloudtest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/picloud/picloud/services/cloudtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, cloudtest.LeakOptions()...) }

func TestDatabase(t *testing.T) {
	for range 2 {
		pool := cloudtest.Database(t)
		var apps int
		if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM apps").Scan(&apps); err != nil {
			t.Fatal(err)
		}
		if apps != 0 {
			t.Errorf("%d apps in a fresh database", apps)
		}
		if _, err := pool.Exec(t.Context(), "INSERT INTO apps VALUES (gen_random_uuid(), 'x', 'x', now(), now())"); err != nil {
			t.Fatal(err)
		}
	}
}
