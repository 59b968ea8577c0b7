package manager

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picloud/picloud/services/cloud"
)

type energyJSON struct {
	AwakeSince time.Time       `json:"awake_since" doc:"When PiCloud was started last"`
	WokenBy    string          `json:"woken_by" enum:"request,schedule,boot,start" doc:"Why: a connection came; a schedule, a retry or a delay had come; the device was switched on; somebody started it, or it was started again after a failure"`
	LastSleep  *time.Time      `json:"last_sleep" nullable:"true" doc:"When it went to sleep before; null if that is not known"`
	Days       []energyDayJSON `json:"days" nullable:"false" doc:"Newest first"`
}

type energyDayJSON struct {
	Day                  string         `json:"day" format:"date" doc:"By the device's time zone"`
	AwakeSeconds         float64        `json:"awake_seconds"`
	WakeUps              map[string]int `json:"wake_ups" doc:"How often PiCloud was started, by cause"`
	CPUSeconds           float64        `json:"cpu_seconds" doc:"Of PiCloud and its workers"`
	DatabaseCPUSeconds   *float64       `json:"database_cpu_seconds" nullable:"true" doc:"Of the database; null if that cannot be told"`
	BytesWritten         int64          `json:"bytes_written" doc:"By PiCloud, to the disk"`
	DatabaseBytesWritten *int64         `json:"database_bytes_written" nullable:"true" doc:"By the database, to the disk; null if that cannot be told"`
}

func (m *Manager) registerDevice(api huma.API) {
	type energyInput struct {
		Days int `query:"days" minimum:"1" maximum:"400" default:"30" doc:"Days at most, today among them"`
	}
	operation(m, api, huma.Operation{
		OperationID: "energy", Method: http.MethodGet, Path: prefix + "/device/energy", Tags: []string{"device"},
		Summary: "Tell what being awake took of the device, by day",
	}, func(ctx context.Context, _ *caller, in *energyInput) (*body[energyJSON], error) {
		e, err := m.device.Energy(ctx, in.Days)
		if err != nil {
			return nil, err
		}
		return &body[energyJSON]{toEnergyJSON(e)}, nil
	})
}

func toEnergyJSON(e cloud.Energy) energyJSON {
	out := energyJSON{AwakeSince: e.AwakeSince.UTC(), WokenBy: string(e.WokenBy), Days: []energyDayJSON{}}
	if !e.LastSleep.IsZero() {
		at := e.LastSleep.UTC()
		out.LastSleep = &at
	}
	for _, d := range e.Days {
		day := energyDayJSON{
			Day: d.Day, AwakeSeconds: d.Awake.Seconds(), WakeUps: map[string]int{}, CPUSeconds: d.CPU.Seconds(),
			BytesWritten: d.Written, DatabaseBytesWritten: d.DatabaseWritten,
		}
		for _, cause := range cloud.WakeCauses {
			day.WakeUps[string(cause)] = d.Wakes[cause]
		}
		if d.DatabaseCPU != nil {
			seconds := d.DatabaseCPU.Seconds()
			day.DatabaseCPUSeconds = &seconds
		}
		out.Days = append(out.Days, day)
	}
	return out
}
