package heap

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

func TestHeadroom(t *testing.T) {
	const mb = 1 << 20
	for name, tt := range map[string]struct {
		files map[string]string
		want  uint64
	}{
		"nothing is known": {nil, math.MaxInt64},
		"the host":         {map[string]string{"proc/meminfo": "MemTotal: 4096 kB\nMemAvailable:  2048 kB\n", "proc/self/cgroup": "0::/a\n"}, 2 * mb},
		"a group": {map[string]string{
			"proc/meminfo": "MemAvailable: 1048576 kB\n", "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/b/memory.current": "1048576\n",
			"sys/fs/cgroup/a/memory.max": "104857600\n", "sys/fs/cgroup/a/memory.current": "73400320\n",
			"sys/fs/cgroup/a/memory.stat": "anon 1\nfile 9\ninactive_file 10485760\nactive_file 1048576\n",
		}, 41 * mb},
		"a group in a container": {map[string]string{
			"proc/self/cgroup": "0::/../../x\n", "sys/fs/cgroup/memory.max": "104857600\n", "sys/fs/cgroup/memory.current": "4194304\n",
		}, 96 * mb},
		"memory.high is lower": {map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "104857600\n", "sys/fs/cgroup/memory.high": "8388608\n", "sys/fs/cgroup/memory.current": "4194304\n",
		}, 4 * mb},
		"more is used than may be": {map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "4194304\n", "sys/fs/cgroup/memory.current": "104857600\n",
		}, 0},
		"version 1": {map[string]string{
			"proc/self/cgroup": "12:cpu,cpuacct:/c\n4:memory:/c/d\n0::/\n",
			"sys/fs/cgroup/memory/c/d/memory.limit_in_bytes": "9223372036854771712\n", "sys/fs/cgroup/memory/c/d/memory.usage_in_bytes": "1048576\n",
			"sys/fs/cgroup/memory/c/memory.limit_in_bytes": "33554432\n", "sys/fs/cgroup/memory/c/memory.usage_in_bytes": "2097152\n",
			"sys/fs/cgroup/memory/c/memory.stat": "inactive_file 0\ntotal_inactive_file 1048576\n",
		}, 31 * mb},
	} {
		root := t.TempDir()
		for path, text := range tt.files {
			if err := os.MkdirAll(filepath.Join(root, filepath.Dir(path)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := headroom(root); got != tt.want {
			t.Errorf("%s: %d bytes are left, want %d", name, got, tt.want)
		}
	}
}

func TestLimit(t *testing.T) {
	const mb = 1 << 20
	for _, tt := range []struct {
		total, live, room uint64
		want              int64
	}{
		{100 * mb, 50 * mb, 800 * mb, 800 * mb},
		{100 * mb, 50 * mb, 0, 100 * mb},
		{100 * mb, 80 * mb, 0, 132 * mb},
		{1000 * mb, 960 * mb, 8 * mb, 1232 * mb},
	} {
		if got := limit(use{live: tt.live, total: tt.total}, tt.room); got != tt.want {
			t.Errorf("%d MB, %d of them in use, %d left: the limit is %d MB, want %d MB", tt.total/mb, tt.live/mb, tt.room/mb, got/mb, tt.want/mb)
		}
	}
}
