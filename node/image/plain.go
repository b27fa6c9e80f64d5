package image

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Compressions, by what a stream begins with.
var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// zstdWindow is how much of what went before a zstd stream may refer to, in bytes: what `zstd --long=27` asks of its readers.
const zstdWindow = 128 << 20

// Plain undoes the compression of an archive, gzip or zstd.
func Plain(archive io.Reader) (io.Reader, error) {
	buffered := bufio.NewReader(archive)
	magic, err := buffered.Peek(len(zstdMagic))
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("image archive: it is empty")
		}
		return nil, fmt.Errorf("image archive: %w", err)
	}
	var plain io.Reader = buffered
	switch {
	case bytes.HasPrefix(magic, gzipMagic):
		plain, err = gzip.NewReader(buffered)
	case bytes.Equal(magic, zstdMagic):
		plain, err = zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
	}
	if err != nil {
		return nil, fmt.Errorf("image archive: %w", err)
	}
	return plain, nil
}

// layerType is the media type of a layer by what it begins with.
func layerType(b Blob) string {
	magic := make([]byte, len(zstdMagic))
	n, _ := b.Open().Read(magic) // an empty layer has no compression either
	switch magic = magic[:n]; {
	case bytes.HasPrefix(magic, gzipMagic):
		return mediaLayer + "+gzip"
	case bytes.Equal(magic, zstdMagic):
		return mediaLayer + "+zstd"
	}
	return mediaLayer
}
