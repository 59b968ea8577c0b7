// Without these the runtime keeps files of the control group open.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command picloud-worker runs the scripts of one app. The server starts it with
// a socket as file descriptor 3 and speaks the protocol of package wire with it;
// it is of no use to people.
package main

import (
	"flag"
	"fmt"
	"math"
	"net"
	"os"
	"runtime"

	"github.com/picloud/picloud/services/executor/sandbox"
	"github.com/picloud/picloud/services/javascript/worker"
)

func main() {
	// The server runs it through a descriptor, whose number would be its name.
	_ = os.WriteFile("/proc/self/comm", []byte("picloud-worker"), 0)
	memory := flag.Int64("memory", 128<<20, "`bytes` that scripts may use")
	flag.Parse()
	if err := run(*memory); err != nil {
		fmt.Fprintln(os.Stderr, "picloud-worker:", err)
		os.Exit(1)
	}
}

func run(memory int64) error {
	if memory <= 0 || memory > math.MaxInt64/2 {
		return fmt.Errorf("--memory %d is not a number of bytes", memory)
	}
	// Half of the machine at most for one app; with one thread at work there are
	// no hand-offs between threads either. Deadlines hold: the runtime's own thread
	// preempts what runs for long.
	runtime.GOMAXPROCS(max(1, runtime.NumCPU()/2))
	f := os.NewFile(3, "socket")
	conn, err := net.FileConn(f)
	if err != nil {
		return fmt.Errorf("file descriptor 3 is no socket: %w", err)
	}
	_ = f.Close()
	if err := sandbox.Apply(sandbox.Config{Memory: memory}); err != nil {
		return err
	}
	return worker.Serve(conn, worker.Config{Memory: memory})
}
