package postgres_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/cloudtest"
	"github.com/picloud/picloud/services/postgres"
	"github.com/picloud/picloud/services/postgres/cluster"
)

// On a full disk callers are told to try again, reads go on where they can, and
// once there is space all recovers by itself with what was acknowledged.
func TestKV_DiskFull(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=120m"); err != nil {
		t.Skip("a disk to fill needs the right to mount one: ", err)
	}
	defer func() { _ = unix.Unmount(disk, unix.MNT_DETACH) }()
	ballast := filepath.Join(disk, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 40<<20), 0o600))

	c, err := cluster.Start(t.Context(), cluster.Config{Dir: filepath.Join(disk, "pg"), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Volatile: true})
	must(t, err)
	defer func() { must(t, c.Stop()) }()
	must(t, postgres.Migrate(t.Context(), c.URL(), slog.New(slog.DiscardHandler)))
	pool := cloudtest.Pool(t, c.URL())
	store := postgres.NewKV(pool, nil)
	app := createApp(t, pool, "app").ID

	set := func(i int) error {
		noise := make([]byte, 60_000) // which does not compress
		for j := range noise {
			noise[j] = byte('0' + rand.IntN(64))
		}
		value, err := json.Marshal(string(noise))
		must(t, err)
		_, err = store.Set(t.Context(), cloud.Cause{}, app, "c", fmt.Sprint(i), value, time.Time{}, nil, noon)
		return err
	}
	kept := 0
	for ; err == nil; kept++ {
		err = set(kept)
	}
	kept--
	wantCode(t, err, cloud.CodeUnavailable)
	t.Log("full after", kept, "entries:", err)
	if kept == 0 {
		t.Fatal("the disk was full from the start")
	}

	must(t, os.Remove(ballast))
	for err = errors.New("not tried"); err != nil; {
		if err = set(kept); err != nil {
			wantCode(t, err, cloud.CodeUnavailable)
			time.Sleep(10 * time.Millisecond) // between attempts; nothing is assumed to have happened meanwhile
		}
	}
	for i := range kept + 1 {
		_, ok, err := store.Get(t.Context(), app, "c", fmt.Sprint(i), noon)
		must(t, err)
		if !ok {
			t.Fatalf("the acknowledged entry %d of %d is lost", i, kept)
		}
	}
}
