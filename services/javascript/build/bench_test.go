package build_test

import (
	"path/filepath"
	"testing"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/javascript/build"
	"github.com/picloud/picloud/services/javascript/bundle"
)

func BenchmarkBuild(b *testing.B) {
	for _, file := range []string{"guestbook.ts", "hono/index.ts"} {
		b.Run(file, func(b *testing.B) {
			src, _, err := bundle.File(filepath.Join(examples, file), bundle.Options{})
			if err != nil {
				b.Skip("its npm packages are not installed: ", err)
			}
			builder := build.New(build.Config{})
			var out cloud.Build
			b.ReportAllocs()
			for b.Loop() {
				if out, err = builder.Build(b.Context(), src, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(src.Text)), "source-B")
			b.ReportMetric(float64(len(out.Code)), "code-B")
			b.ReportMetric(float64(len(out.SourceMap)), "map-B")
		})
	}
}
