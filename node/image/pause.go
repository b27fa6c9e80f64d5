package image

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
)

// PauseRef names the image whose only process holds a pod's namespaces open.
const PauseRef = "fairlead.dev/pause:1"

// Pause returns the archive of PauseRef for this machine: an image of one
// static program that waits for ever, discards its dead children (so nobody
// piles up when a pod shares one pid namespace) and ends on SIGTERM or SIGINT.
func Pause() ([]byte, error) { return PauseFor(runtime.GOARCH) }

// PauseFor is Pause for another architecture: "amd64" or "arm64".
func PauseFor(arch string) ([]byte, error) {
	program, err := pauseProgram(arch)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	err = Build(&buf, Spec{
		Refs:       []string{PauseRef},
		Arch:       arch,
		Rootfs:     []File{{Path: "pause", Mode: 0o755, Data: program}},
		Entrypoint: []string{"/pause"},
		User:       "65535:65535", // as upstream's pause image: root is not needed to wait
		WorkingDir: "/",
	})
	return buf.Bytes(), err
}

// Numbers of Linux that are the same everywhere.
const (
	sigBlock   = 0  // SIG_BLOCK
	sigInt     = 2  // SIGINT
	sigTerm    = 15 // SIGTERM
	sigChild   = 17 // SIGCHLD
	sigSetSize = 8  // bytes of the kernel's sigset_t

	loadAddress = 0x400000
	elfHeader   = 64
	progHeader  = 56
	codeAddress = loadAddress + elfHeader + progHeader
)

// call is one system call of the program: its number and its arguments.
type call struct {
	nr   uint32
	args [4]uint32
}

// pauseProgram assembles the pause program: an ELF header, one program header
// that maps the whole file readable and executable, then
//
//	rt_sigaction(SIGCHLD, {SIG_IGN}, NULL, 8)         the kernel reaps children by itself
//	rt_sigprocmask(SIG_BLOCK, {INT, TERM}, NULL, 8)   the first process of a pid namespace
//	                                                  gets only signals it blocks or handles
//	do rt_sigtimedwait({INT, TERM}, NULL, NULL, 8)    wait for ever
//	while it returns < 0                              EINTR, after SIGSTOP and SIGCONT
//	exit_group(0)
//
// then struct sigaction (handler SIG_IGN = 1, and 24 zero bytes) and the signal set.
func pauseProgram(arch string) ([]byte, error) {
	m, ok := machines[arch]
	if !ok {
		return nil, fmt.Errorf("pause image: no program for architecture %q: amd64 and arm64 are known", arch)
	}
	size := len(m.code(0, 0)) // the length does not depend on the addresses
	action := uint32(codeAddress + size)
	set := action + 32
	code := m.code(action, set)

	data := make([]byte, 40)
	binary.LittleEndian.PutUint64(data, 1)
	binary.LittleEndian.PutUint64(data[32:], 1<<(sigInt-1)|1<<(sigTerm-1))

	file := uint64(elfHeader + progHeader + len(code) + len(data))
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01\x00") // 64 bit, little endian, version 1, System V
	for _, field := range []any{
		uint64(0),                   // rest of e_ident
		uint16(2), m.elf, uint32(1), // ET_EXEC, machine, version
		uint64(codeAddress),          // entry
		uint64(elfHeader), uint64(0), // program headers, no section headers
		uint32(0),                     // flags
		uint16(elfHeader),             // size of this header
		uint16(progHeader), uint16(1), // one program header
		uint16(0), uint16(0), uint16(0), // no sections
		uint32(1), uint32(5), // PT_LOAD, readable and executable
		uint64(0), // from the start of the file
		uint64(loadAddress), uint64(loadAddress),
		file, file, // bytes in the file and in memory
		uint64(0x10000), // alignment: good for pages of 4, 16 and 64 KiB
	} {
		if err := binary.Write(&b, binary.LittleEndian, field); err != nil {
			return nil, fmt.Errorf("pause image: %w", err)
		}
	}
	b.Write(code)
	b.Write(data)
	return b.Bytes(), nil
}

// machine is one architecture: its number in ELF and its code.
type machine struct {
	elf  uint16
	code func(action, set uint32) []byte
}

var machines = map[string]machine{
	"amd64": {elf: 62, code: amd64Code},
	"arm64": {elf: 183, code: arm64Code},
}

func amd64Code(action, set uint32) []byte {
	code := amd64Call(call{13, [4]uint32{sigChild, action, 0, sigSetSize}})
	code = append(code, amd64Call(call{14, [4]uint32{sigBlock, set, 0, sigSetSize}})...)
	wait := amd64Call(call{128, [4]uint32{set, 0, 0, sigSetSize}})
	wait = append(wait, 0x85, 0xc0)                     // test eax, eax
	wait = append(wait, 0x78, byte(-int8(len(wait)+2))) // js wait
	code = append(code, wait...)
	return append(code, amd64Call(call{231, [4]uint32{}})...)
}

// amd64Call loads rdi, rsi, rdx, r10 and rax, each by a 32-bit mov, which
// clears the upper half, and enters the kernel.
func amd64Call(c call) []byte {
	var code []byte
	for i, op := range [][]byte{{0xbf}, {0xbe}, {0xba}, {0x41, 0xba}} {
		code = binary.LittleEndian.AppendUint32(append(code, op...), c.args[i])
	}
	code = binary.LittleEndian.AppendUint32(append(code, 0xb8), c.nr)
	return append(code, 0x0f, 0x05) // syscall
}

func arm64Code(action, set uint32) []byte {
	code := arm64Call(call{134, [4]uint32{sigChild, action, 0, sigSetSize}})
	code = append(code, arm64Call(call{135, [4]uint32{sigBlock, set, 0, sigSetSize}})...)
	wait := arm64Call(call{137, [4]uint32{set, 0, 0, sigSetSize}})
	// tbnz w0, #31, wait: the sign bit says error; the distance is counted in instructions
	back := uint32(-int32(len(wait)/4)) & 0x3fff
	wait = binary.LittleEndian.AppendUint32(wait, 0x37000000|31<<19|back<<5)
	code = append(code, wait...)
	return append(code, arm64Call(call{94, [4]uint32{}})...)
}

// arm64Call loads x0 to x3 and x8, each by movz for the lower 16 bits and
// movk for the next 16, and enters the kernel.
func arm64Call(c call) []byte {
	var code []byte
	for i, v := range append(c.args[:], c.nr) {
		reg := uint32(i)
		if i == len(c.args) {
			reg = 8
		}
		code = binary.LittleEndian.AppendUint32(code, 0xd2800000|v&0xffff<<5|reg)
		code = binary.LittleEndian.AppendUint32(code, 0xf2a00000|v>>16<<5|reg)
	}
	return binary.LittleEndian.AppendUint32(code, 0xd4000001) // svc #0
}
