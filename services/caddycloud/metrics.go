package caddycloud

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/picloud/picloud/services/cloud"
	"github.com/picloud/picloud/services/events"
	"github.com/picloud/picloud/services/executor"
)

// meter collects what Prometheus is told. What the database knows is asked for at
// the scrape; nothing is kept up to date for scrapes that may never come.
type meter struct {
	depth func(context.Context) (events.Depth, error)
	stats func() executor.Stats
	log   *slog.Logger

	deliveries *prometheus.CounterVec
	latency    prometheus.Histogram

	mu    sync.Mutex
	slugs map[string]string // by app id
}

// depthTimeout bounds what a scrape waits for the database.
const depthTimeout = 5 * time.Second

// fates are the label values of what becomes of an attempt.
var fates = map[events.Fate]string{
	events.Done: "done", events.Retry: "retry", events.Release: "released", events.Dead: "dead", events.Dropped: "dropped",
}

var (
	descOutboxDepth = prometheus.NewDesc("picloud_outbox_depth", "Deliveries that wait or run.", []string{"app"}, nil)
	descOldestDue   = prometheus.NewDesc("picloud_outbox_oldest_due_seconds", "For how long the delivery has been due that has waited longest; 0 if none is due.", nil, nil)
	descDeadLetters = prometheus.NewDesc("picloud_dead_letters", "Dead letters that wait, or whose handler failed.", []string{"app"}, nil)
	descExecutions  = prometheus.NewDesc("picloud_executions_total", "Executions that were begun.", nil, nil)
	descRefused     = prometheus.NewDesc("picloud_executions_refused_total", "Executions that got no place.", nil, nil)
	descRunning     = prometheus.NewDesc("picloud_executions_running", "Executions that run now.", nil, nil)
	descDeaths      = prometheus.NewDesc("picloud_worker_deaths_total", "Workers that died with executions in flight.", nil, nil)
)

func newMeter(depth func(context.Context) (events.Depth, error), stats func() executor.Stats, log *slog.Logger) *meter {
	return &meter{
		depth: depth, stats: stats, log: log, slugs: map[string]string{},
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "picloud_deliveries_total", Help: "Attempts to deliver an event, by its kind and what became of it.",
		}, []string{"kind", "fate"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "picloud_dispatch_latency_seconds", Help: "For how long deliveries were due before an attempt began.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300, 3600},
		}),
	}
}

// observe takes note of an attempt.
func (m *meter) observe(kind cloud.EventKind, fate events.Fate, waited time.Duration) {
	m.deliveries.WithLabelValues(string(kind), fates[fate]).Inc()
	m.latency.Observe(waited.Seconds())
}

// follow takes note of an app's slug, by which people know it. A nil state is that
// of an app that is gone.
func (m *meter) follow(appID string, state *cloud.AppState) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if state == nil {
		delete(m.slugs, appID)
	} else {
		m.slugs[appID] = state.App.Slug
	}
}

// Describe implements prometheus.Collector.
func (m *meter) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descOutboxDepth, descOldestDue, descDeadLetters, descExecutions, descRefused, descRunning, descDeaths} {
		to <- d
	}
	m.deliveries.Describe(to)
	m.latency.Describe(to)
}

// Collect implements prometheus.Collector. While the database is away, what it
// knows is missing.
func (m *meter) Collect(to chan<- prometheus.Metric) {
	m.deliveries.Collect(to)
	m.latency.Collect(to)
	s := m.stats()
	to <- prometheus.MustNewConstMetric(descExecutions, prometheus.CounterValue, float64(s.Executions))
	to <- prometheus.MustNewConstMetric(descRefused, prometheus.CounterValue, float64(s.Refused))
	to <- prometheus.MustNewConstMetric(descRunning, prometheus.GaugeValue, float64(s.Running))
	to <- prometheus.MustNewConstMetric(descDeaths, prometheus.CounterValue, float64(s.WorkerDeaths))

	ctx, cancel := context.WithTimeout(context.Background(), depthTimeout)
	defer cancel()
	d, err := m.depth(ctx)
	if err != nil {
		m.log.Warn("the outbox could not be counted for metrics", "error", err)
		return
	}
	m.collectByApp(to, descOutboxDepth, d.Waiting)
	m.collectByApp(to, descDeadLetters, d.DeadLetters)
	age := 0.0
	if !d.EarliestDue.IsZero() {
		age = max(0, time.Since(d.EarliestDue).Seconds())
	}
	to <- prometheus.MustNewConstMetric(descOldestDue, prometheus.GaugeValue, age)
}

func (m *meter) collectByApp(to chan<- prometheus.Metric, d *prometheus.Desc, counts map[string]int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, n := range counts {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), cmp.Or(m.slugs[id], id))
	}
}

// handler answers scrapes with these metrics alone.
func (m *meter) handler() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(m)
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{ErrorLog: scrapeErrors{m.log}})
}

// scrapeErrors logs what goes wrong in an answer.
type scrapeErrors struct{ log *slog.Logger }

func (l scrapeErrors) Println(v ...any) { l.log.Warn("metrics could not be answered", "error", v) }
