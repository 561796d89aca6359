// A peer of `cargo xtask bench health`: TCP and HTTP checks as Seesaw's healthcheck
// engine makes them (a goroutine for each, net.Dialer, a Ticker), without what
// slows that one down beside it: its start gate and a line of log for each check.
//
// usage: health TARGETS INTERVAL_MS tcp|http     targets are 127.16.0.1 and up, port 80,
// the last hundred of them on port 81
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

const fall = 3

func main() {
	targets, _ := strconv.Atoi(os.Args[1])
	ms, _ := strconv.Atoi(os.Args[2])
	interval := time.Duration(ms) * time.Millisecond
	check := tcp
	if os.Args[3] == "http" {
		check = get
	}
	for at := 0; at < targets; at++ {
		port := 80
		if at >= targets-100 {
			port = 81
		}
		first := uint32(0x7f100001) + uint32(at)
		address := fmt.Sprintf("%d.%d.%d.%d:%d", first>>24, first>>16&255, first>>8&255, first&255, port)
		phase := interval * time.Duration(at) / time.Duration(targets)
		go run(address, phase, interval, check())
	}
	select {}
}

func tcp() func(string) error {
	dialer := net.Dialer{Timeout: 500 * time.Millisecond}
	return func(address string) error {
		conn, err := dialer.Dial("tcp", address)
		if err != nil {
			return err
		}
		conn.(*net.TCPConn).SetLinger(0)
		return conn.Close()
	}
}

// A client of its own for each check, as Seesaw has.
func get() func(string) error {
	client := http.Client{
		Timeout:   500 * time.Millisecond,
		Transport: &http.Transport{DisableKeepAlives: true},
	}
	return func(address string) error {
		answer, err := client.Get("http://" + address + "/")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if _, err = io.Copy(io.Discard, answer.Body); err == nil && answer.StatusCode != 200 {
			err = fmt.Errorf("status %d", answer.StatusCode)
		}
		return err
	}
}

func run(address string, phase, interval time.Duration, check func(string) error) {
	time.Sleep(phase)
	failures := 0
	for range time.NewTicker(interval).C {
		err := check(address)
		if err == nil {
			failures = 0
			continue
		}
		if failures++; failures == fall {
			fmt.Printf("%s is down: %v\n", address, err)
		}
	}
}
