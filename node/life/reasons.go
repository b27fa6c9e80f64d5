package life

// Reasons of containers that wait, upstream's words: for their image, to be made or started by the runtime, to be started again.
const (
	ErrImagePull               = "ErrImagePull"
	ImagePullBackOff           = "ImagePullBackOff"
	ErrImageNeverPull          = "ErrImageNeverPull"
	ImageInspectError          = "ImageInspectError"
	InvalidImageName           = "InvalidImageName"
	CreateContainerConfigError = "CreateContainerConfigError"
	CreateContainerError       = "CreateContainerError"
	RunContainerError          = "RunContainerError"
	CrashLoopBackOff           = "CrashLoopBackOff"
)
