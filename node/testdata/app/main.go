// Command app is the program inside the containers of the tests of package node. Its first argument says what it does.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{"serve"}
	}
	switch args[0] {
	case "serve":
		serve()
	case "exit":
		code, _ := strconv.Atoi(args[1])
		fmt.Println(strings.Join(args[2:], " "))
		os.Exit(code)
	case "message":
		os.WriteFile("/dev/termination-log", []byte(args[1]), 0o644)
		os.Exit(3)
	case "wait":
		forever()
	case "fill": // PATH MEGABYTES
		size, _ := strconv.Atoi(args[2])
		if err := os.WriteFile(args[1], make([]byte, size<<20), 0o644); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		forever()
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		forever()
	case "farewell":
		asked := make(chan os.Signal, 1)
		signal.Notify(asked, syscall.SIGTERM)
		fmt.Println("ready")
		<-asked
		time.Sleep(200 * time.Millisecond) // longer than a kill would leave
		os.WriteFile(args[1], []byte("bye"), 0o644)
	case "env":
		for _, name := range args[1:] {
			fmt.Printf("%s=%s\n", name, os.Getenv(name))
		}
		forever()
	case "cat":
		for _, path := range args[1:] {
			text, err := os.ReadFile(path)
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			os.Stdout.Write(text)
		}
	case "write":
		if err := os.WriteFile(args[1], []byte(args[2]), 0o644); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	case "link":
		if err := os.Symlink(args[1], args[2]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	case "second": // exits with one code the first time, and with another after that
		code := args[3]
		if _, err := os.Stat(args[1]); err != nil {
			os.WriteFile(args[1], nil, 0o644)
			code = args[2]
			if len(args) > 4 {
				if d, err := time.ParseDuration(args[4]); err == nil {
					time.Sleep(d)
				}
			}
		}
		number, _ := strconv.Atoi(code)
		os.Exit(number)
	case "fork": // starts as many copies of itself that wait, and waits too
		count, _ := strconv.Atoi(args[1])
		for range count {
			exec.Command(os.Args[0], "wait").Start()
		}
		forever()
	case "talk": // writes as many MiB
		count, _ := strconv.Atoi(args[1])
		line := strings.Repeat("x", 1023) + "\n"
		for range count << 10 {
			os.Stdout.WriteString(line)
		}
		forever()
	case "id":
		fmt.Println(os.Getuid(), os.Getgid())
		host, _ := os.Hostname()
		fmt.Println(host)
	case "eat":
		var all [][]byte
		for {
			all = append(all, make([]byte, 1<<20))
			for i := range all[len(all)-1] {
				all[len(all)-1][i] = 1
			}
		}
	case "echo":
		io.Copy(os.Stdout, os.Stdin)
	}
}

// forever does not use select {}: a program that only waits would be ended as deadlocked.
func forever() {
	for {
		time.Sleep(time.Hour)
	}
}

// serve answers on :8080. A POST to a path makes it fail until the next one.
func serve() {
	var bad [2]atomic.Bool
	for i, path := range []string{"/readyz", "/livez"} {
		http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				bad[i].Store(!bad[i].Load())
			} else if bad[i].Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			fmt.Fprintln(w, "ok")
		})
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		fmt.Println("stopping")
		if d, err := time.ParseDuration(os.Getenv("LINGER")); err == nil {
			time.Sleep(d)
		}
		os.Exit(0)
	}()
	listener, err := net.Listen("tcp", ":8080")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("serving")
	http.Serve(listener, nil)
}
