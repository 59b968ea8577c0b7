package postgres_test

import (
	"testing"
	"time"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/postgres"
)

func TestInstance_Seed(t *testing.T) {
	t.Parallel()
	pool := cloudtest.Database(t)
	i := postgres.NewInstance(pool)
	first, seeded, err := i.Seed(t.Context(), noon)
	must(t, err)
	equal(t, first, cloud.App{ID: first.ID, Slug: cloud.DefaultApp, Name: "Default", CreatedAt: noon, UpdatedAt: noon})
	equal(t, seeded, false)
	must(t, i.MarkSeeded(t.Context(), noon))
	must(t, i.MarkSeeded(t.Context(), noon.Add(time.Hour)))
	again, seeded, err := i.Seed(t.Context(), noon.Add(time.Hour))
	must(t, err)
	equal(t, again, first)
	equal(t, seeded, true)
}
