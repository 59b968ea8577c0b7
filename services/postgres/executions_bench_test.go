package postgres_test

import (
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/postgres"
)

// BenchmarkExecutions_Append writes batches of 500 records; ns/op is per record.
func BenchmarkExecutions_Append(b *testing.B) {
	pool := cloudtest.Database(b)
	app, err := postgres.NewApps(pool, nil).CreateApp(b.Context(), cloud.App{Slug: "app"}, "")
	if err != nil {
		b.Fatal(err)
	}
	log := postgres.NewExecutions(pool)
	script := cloud.NewID()
	records := make([]cloud.Execution, 0, 500)
	for b.Loop() {
		records = append(records, record(app.ID, script, noon))
		if len(records) == cap(records) {
			if err := log.AppendExecutions(b.Context(), records); err != nil {
				b.Fatal(err)
			}
			records = records[:0]
		}
	}
}
