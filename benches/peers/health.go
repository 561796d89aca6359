// A peer of `cargo xtask bench health`: TCP checks as Seesaw's healthcheck
// engine makes them (a goroutine for each, net.Dialer, a Ticker), without what
// slows that one down beside it: its start gate and a line of log for each check.
//
// usage: health TARGETS INTERVAL_MS     targets are 127.16.0.1 and up, port 80,
// the last hundred of them on port 81
package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

const fall = 3

func main() {
	targets, _ := strconv.Atoi(os.Args[1])
	ms, _ := strconv.Atoi(os.Args[2])
	interval := time.Duration(ms) * time.Millisecond
	for at := 0; at < targets; at++ {
		port := 80
		if at >= targets-100 {
			port = 81
		}
		first := uint32(0x7f100001) + uint32(at)
		address := fmt.Sprintf("%d.%d.%d.%d:%d", first>>24, first>>16&255, first>>8&255, first&255, port)
		phase := interval * time.Duration(at) / time.Duration(targets)
		go run(address, phase, interval)
	}
	select {}
}

func run(address string, phase, interval time.Duration) {
	time.Sleep(phase)
	dialer := net.Dialer{Timeout: 500 * time.Millisecond}
	failures := 0
	for range time.NewTicker(interval).C {
		conn, err := dialer.Dial("tcp", address)
		if err == nil {
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
			failures = 0
			continue
		}
		if failures++; failures == fall {
			fmt.Printf("%s is down: %v\n", address, err)
		}
	}
}
