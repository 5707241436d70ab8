#!/usr/bin/env python3
"""Makes swagger-fields.json from moby's api/swagger.yaml (first argument): for each document that dhow-api
has, its fields with their types; for each operation, its method, path and query parameters.
Run again when the newest API version changes; the tests then name what is missing."""
import json, sys, yaml

spec = yaml.safe_load(open(sys.argv[1]))
definitions = spec["definitions"]

def kind(schema):
    if "$ref" in schema:
        return kind(definitions[schema["$ref"].split("/")[-1]])
    if "allOf" in schema:
        return kind(schema["allOf"][0])
    if "properties" in schema or ("x-go-type" in schema and "type" not in schema):
        return "object"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return "map of " + kind(schema["additionalProperties"])
    if schema.get("type") == "array":
        return "array of " + kind(schema["items"])
    return schema.get("type", "any")

def fields(schema):
    out = {}
    for part in schema.get("allOf", [schema]):
        if "$ref" in part:
            out.update(fields(definitions[part["$ref"].split("/")[-1]]))
        out.update({name: kind(s) for name, s in part.get("properties", {}).items()})
    return out

documents = {name: fields(definitions[name]) for name in """ContainerConfig HostConfig NetworkingConfig Mount
    MountPoint RestartPolicy HealthConfig Health HealthcheckResult DeviceMapping DeviceRequest ThrottleDevice
    NetworkSettings EndpointSettings EndpointIPAMConfig ImageInspect ImageSummary ImageConfig
    ContainerInspectResponse ContainerSummary PortSummary ContainerState ContainerCreateResponse
    ContainerWaitResponse ContainerWaitExitError ProcessConfig ImageDeleteResponseItem DriverData OCIDescriptor
    OCIPlatform ProgressDetail ErrorDetail ErrorResponse IDResponse SystemVersion SystemInfo PluginsInfo
    RegistryServiceConfig IndexInfo Runtime SwarmInfo Commit Network IPAM IPAMConfig EndpointResource
    ConfigReference PortBinding Volume ImagesDiskUsage ContainersDiskUsage VolumesDiskUsage BuildCacheDiskUsage
    BuildCache FilesystemChange ImageHistoryResponseItem""".split()}
body = lambda path: next(p for p in spec["paths"][path]["post"]["parameters"] if p["in"] == "body")["schema"]
documents["ExecCreateRequest"] = fields(body("/containers/{id}/exec"))
documents["ExecStartRequest"] = fields(body("/exec/{id}/start"))
documents["ExecInspect"] = fields(spec["paths"]["/exec/{id}/json"]["get"]["responses"][200]["schema"])
for name, path in [("MountBindOptions", "BindOptions"), ("MountVolumeOptions", "VolumeOptions"),
                   ("MountImageOptions", "ImageOptions"), ("MountTmpfsOptions", "TmpfsOptions")]:
    documents[name] = fields(definitions["Mount"]["properties"][path])
operations = [
    {"method": method.upper(), "path": path,
     "query": [p["name"] for p in op.get("parameters", []) if p["in"] == "query"]}
    for path, ops in spec["paths"].items() for method, op in ops.items()
]
json.dump({"version": spec["info"]["version"], "documents": documents, "operations": operations}, sys.stdout, indent=1)
print()
