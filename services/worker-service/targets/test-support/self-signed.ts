// For 127.0.0.1 and localhost, valid for a hundred years, trusted by nobody: made for these tests by
// openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -subj /CN=localhost \
//   -addext subjectAltName=DNS:localhost,IP:127.0.0.1

export const SELF_SIGNED_KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgmkV97i1utvpDXRdS
FSithIY6gwztZdqsCTITyvSrMQWhRANCAASYraflVObmO53BGppAtAq2n6Jnwiwm
ZY6vKtVjlwwIWSkxJOSbtr7E2OEFzXf3odw/DFPH7kJoJdaEc9zwWSEB
-----END PRIVATE KEY-----
`;

export const SELF_SIGNED_CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIUSMFnPDHJkoZchzCLyMBjytuIlpYwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTE4NTgyMFoYDzIxMjYxMDI4
MTg1ODIwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASYraflVObmO53BGppAtAq2n6JnwiwmZY6vKtVjlwwIWSkxJOSbtr7E
2OEFzXf3odw/DFPH7kJoJdaEc9zwWSEBo28wbTAdBgNVHQ4EFgQUjZ5DxVIRPijd
KmY+e8dJApxfeB4wHwYDVR0jBBgwFoAUjZ5DxVIRPijdKmY+e8dJApxfeB4wDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDRwAwRAIgX8c8jLMnyLgwfEZcxyTqwGfl/Y1/4A7fldyVx6Zb4XcCIEQY
gpPYDjhs6iftvw0Zr/u6HU50NT3OGS+uG0PyFLzp
-----END CERTIFICATE-----
`;
