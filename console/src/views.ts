// The views that come later (later.tsx).

export { Activity } from "./views/activity.js";
export { Actors } from "./views/actors.js";
export { City } from "./views/city.js";
export { Cluster } from "./views/cluster.js";
export { DriverDetails } from "./views/driver.js";
export { Drivers } from "./views/drivers.js";
export { IncidentDetails, Incidents } from "./views/incident.js";
export { JobDetails } from "./views/job.js";
export { Rules } from "./views/rules.js";
export { Templates } from "./views/templates.js";
export { ZoneCard } from "./views/zone.js";
