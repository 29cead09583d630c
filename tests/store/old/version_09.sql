-- Schema version 9, as commit 0c6e59ac wrote it. Never to be changed.
BEGIN TRANSACTION;
CREATE TABLE "background_jobs" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "class_name" VARCHAR(255) NOT NULL, "method_name" VARCHAR(255) NOT NULL, "parameters" TEXT NOT NULL, "status" VARCHAR(255) NOT NULL, "retry_count" INTEGER NOT NULL, "max_retries" INTEGER NOT NULL, "retry_delay" REAL NOT NULL, "backoff" VARCHAR(255) NOT NULL, "max_retry_delay" REAL NOT NULL, "queue" VARCHAR(255) NOT NULL, "priority" INTEGER NOT NULL, "timeout" REAL, "scheduled_at" VARCHAR(255), "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "created_at" VARCHAR(255) NOT NULL, "updated_at" VARCHAR(255) NOT NULL, "cancel_requested_at" VARCHAR(255), "idempotency_key" VARCHAR(255), "result" TEXT, "error" TEXT, "submitted_uid" INTEGER, "submitted_gid" INTEGER, "submitted_pid" INTEGER, "ready" INTEGER NOT NULL, "request_digest" VARCHAR(255), "sensitive" TEXT, "crashes" INTEGER NOT NULL DEFAULT 0, "submitted_by_job" INTEGER, "schedule" VARCHAR(255), "occurrence" VARCHAR(255));
INSERT INTO "background_jobs" VALUES(1,'jobs.Example','work','{"to":"user@example.com"}','completed',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:21:04.534540Z','2026-11-29T03:21:04.570280Z','2026-11-29T03:21:04.534540Z','2026-11-29T03:21:04.610859Z',NULL,'done','{"sent":"user@example.com"}',NULL,0,0,1526244,1,'3e06ce13f425279d9ec2c75047fcef2c',NULL,0,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(2,'jobs.Example','fail','{"message":"no"}','failed',0,0,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:21:07.595631Z','2026-11-29T03:21:07.679482Z','2026-11-29T03:21:07.595631Z','2026-11-29T03:21:07.799783Z',NULL,'18ec65f810b8e796-38501a1a1ed3eeee30b2c1b5970488b1',NULL,'ValueError: no',0,0,1526435,1,'=db73b134d54a61b14617c25a61387057',NULL,0,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(3,'jobs.Example','fail','{"message":"again"}','pending',1,3,36000.0,'constant',3600.0,'default',0,NULL,'2026-11-29T13:21:10.273395Z','2026-11-29T03:21:10.134851Z',NULL,'2026-11-29T03:21:10.134851Z','2026-11-29T03:21:10.273395Z',NULL,'18ec65f8aa87c719-1467daa3e266fa83fb17288233786307',NULL,'ValueError: again',0,0,1526532,0,'=28827d6b8c8b60041ef3a5415fb9634d',NULL,0,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(4,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T13:21:12.418504Z',NULL,NULL,'2026-11-29T03:21:12.437578Z','2026-11-29T03:21:12.437578Z',NULL,'18ec65f933e3fc5d-89140e9960b96a54abb12c1ca3069b7e',NULL,NULL,0,0,1526568,0,'=d939294671382e9877870cda3ad7070a',NULL,0,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(5,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'held',5,NULL,NULL,NULL,NULL,'2026-11-29T03:21:16.989962Z','2026-11-29T03:21:16.989962Z',NULL,'18ec65fa42a2784d-3cf6f9a39d7f6a595666e346fa36fbf3',NULL,NULL,0,0,1526765,1,'=cb5ca89fbfdffe3934accc069ed6df0a',NULL,0,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(6,'jobs.Example','work','{}','cancelled',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T12:21:19.351148Z',NULL,'2026-11-29T03:21:21.925086Z','2026-11-29T03:21:19.361088Z','2026-11-29T03:21:21.925086Z','2026-11-29T03:21:21.925086Z','18ec65fad0ea758f-7f9e4e80db57586120bcaf42c3f35450',NULL,NULL,0,0,1526791,0,'=5c1f5720a617aadcdfaf9c137da05b0b',NULL,0,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(7,'jobs.Example','wait','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:21:23.656060Z',NULL,'2026-11-29T03:21:23.656060Z','2026-11-29T03:21:23.656060Z',NULL,'18ec65fbcdad4afa-3d9d9d9956f3cc83c729259e5e9a1fc2',NULL,NULL,0,0,1526911,1,'=054dcaffd6982008782a73f0ceec7837',NULL,0,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(8,'jobs.Example','ignore','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:21:25.657867Z',NULL,'2026-11-29T03:21:25.657867Z','2026-11-29T03:21:27.191332Z','2026-11-29T03:21:27.191332Z','18ec65fc465e6ec3-b35fd4dd0d753a81bbcb68550d431bd6',NULL,NULL,0,0,1527024,1,'=054dcaffd6982008782a73f0ceec7837',NULL,0,NULL,NULL,NULL);
CREATE TABLE "job_attempts" ("job_id" INTEGER NOT NULL, "number" INTEGER NOT NULL, "token" VARCHAR(255) NOT NULL, "boot_id" VARCHAR(255) NOT NULL, "pid" INTEGER, "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "outcome" VARCHAR(255), "exit_code" INTEGER, "signal" INTEGER, "error_type" TEXT, "error_message" TEXT, "traceback" TEXT, "max_rss" INTEGER, "cpu_user" REAL, "cpu_system" REAL, "output_bytes" INTEGER, "code_version" VARCHAR(255), "progress" TEXT, "noted" INTEGER NOT NULL DEFAULT 0, "spends_retry" INTEGER NOT NULL DEFAULT 1, "error_class" TEXT, PRIMARY KEY ("job_id", "number")) WITHOUT ROWID;
INSERT INTO "job_attempts" VALUES(1,1,'727b3db39f1fd857','1df388ec-d432-41b4-9c12-5c687383d3a6',1526393,'2026-11-29T03:21:04.558086Z','2026-11-29T03:21:04.570280Z','completed',0,NULL,NULL,NULL,NULL,14241792,0.0,0.00486,0,'530ca01b6a79',NULL,0,1,NULL);
INSERT INTO "job_attempts" VALUES(2,1,'aa725f21d0f7f816','1df388ec-d432-41b4-9c12-5c687383d3a6',1526398,'2026-11-29T03:21:07.630274Z','2026-11-29T03:21:07.679482Z','failed',1,NULL,'ValueError','no','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: no
',14389248,0.010542,0.0,0,'530ca01b6a79',NULL,0,1,'builtins.ValueError');
INSERT INTO "job_attempts" VALUES(3,1,'2629059e0d006834','1df388ec-d432-41b4-9c12-5c687383d3a6',1526516,'2026-11-29T03:21:10.198954Z','2026-11-29T03:21:10.242184Z','failed',1,NULL,'ValueError','again','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: again
',14397440,0.002421,0.010142,0,'530ca01b6a79',NULL,0,1,'builtins.ValueError');
INSERT INTO "job_attempts" VALUES(7,1,'d8f23e504af8ba18','1df388ec-d432-41b4-9c12-5c687383d3a6',1526559,'2026-11-29T03:21:23.680772Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'530ca01b6a79',NULL,0,1,NULL);
INSERT INTO "job_attempts" VALUES(8,1,'3878a01c183fea9e','1df388ec-d432-41b4-9c12-5c687383d3a6',1526390,'2026-11-29T03:21:25.702246Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'530ca01b6a79',NULL,0,1,NULL);
CREATE TABLE "job_logs" ("id" INTEGER NOT NULL PRIMARY KEY, "job_id" INTEGER NOT NULL, "attempt" INTEGER, "type" VARCHAR(255) NOT NULL, "message" TEXT NOT NULL, "context" TEXT, "created_at" VARCHAR(255) NOT NULL, "folded" TEXT, "attempts_allowed" INTEGER);
INSERT INTO "job_logs" VALUES(1,1,NULL,'success','Background job initiated','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T03:21:04.534540Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(2,1,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:21:04.534540Z',NULL,4);
INSERT INTO "job_logs" VALUES(3,1,1,'success','Background job started','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T03:21:04.610859Z',NULL,4);
INSERT INTO "job_logs" VALUES(4,1,1,'success','Background job completed processing',NULL,'2026-11-29T03:21:04.610859Z',NULL,4);
INSERT INTO "job_logs" VALUES(5,2,NULL,'success','Background job initiated','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T03:21:07.595631Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(6,2,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:21:07.595631Z',NULL,1);
INSERT INTO "job_logs" VALUES(7,2,1,'success','Background job started','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T03:21:07.799783Z',NULL,1);
INSERT INTO "job_logs" VALUES(8,2,1,'failure','ValueError: no (attempt 1 of 1)',NULL,'2026-11-29T03:21:07.799783Z',NULL,1);
INSERT INTO "job_logs" VALUES(9,3,NULL,'success','Background job initiated','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T03:21:10.134851Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(10,3,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:21:10.134851Z',NULL,4);
INSERT INTO "job_logs" VALUES(11,3,1,'success','Background job started','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T03:21:10.273395Z',NULL,4);
INSERT INTO "job_logs" VALUES(12,3,1,'failure','ValueError: again (attempt 1 of 4, next at 13:21:10)',NULL,'2026-11-29T03:21:10.273395Z',NULL,4);
INSERT INTO "job_logs" VALUES(13,3,1,'info','Background job waits for retry 1 of 3 at 13:21:10',NULL,'2026-11-29T03:21:10.273395Z',NULL,4);
INSERT INTO "job_logs" VALUES(14,4,NULL,'success','Background job initiated','{"id":4,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:21:12.437578Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(15,5,NULL,'success','Background job initiated','{"id":5,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"held","priority":5,"parameters":{}}','2026-11-29T03:21:16.989962Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(16,6,NULL,'success','Background job initiated','{"id":6,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:21:19.361088Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(17,6,NULL,'info','Background job cancelled',NULL,'2026-11-29T03:21:21.925086Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(18,7,NULL,'success','Background job initiated','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:21:23.656060Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(19,7,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:21:23.656060Z',NULL,4);
INSERT INTO "job_logs" VALUES(20,7,1,'success','Background job started','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:21:23.796590Z',NULL,4);
INSERT INTO "job_logs" VALUES(21,8,NULL,'success','Background job initiated','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:21:25.657867Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(22,8,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:21:25.657867Z',NULL,4);
INSERT INTO "job_logs" VALUES(23,8,1,'success','Background job started','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:21:25.761030Z',NULL,4);
INSERT INTO "job_logs" VALUES(24,8,1,'info','Background job cancel requested',NULL,'2026-11-29T03:21:27.191332Z',NULL,4);
CREATE TABLE "properties" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "value" TEXT NOT NULL);
INSERT INTO "properties" VALUES('database_id','ed564a96-bef0-49c2-a2d3-2f41b44d01d4');
CREATE TABLE "queues" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "paused_at" VARCHAR(255) NOT NULL);
INSERT INTO "queues" VALUES('held','2026-11-29T03:21:14.970146Z');
CREATE TABLE "schedule_occurrences" ("name" VARCHAR(255) NOT NULL, "at" VARCHAR(255) NOT NULL, "until" VARCHAR(255) NOT NULL, "count" INTEGER NOT NULL, "verdict" VARCHAR(255) NOT NULL, "reason" VARCHAR(255), "job_id" INTEGER, "dealt_at" VARCHAR(255) NOT NULL, PRIMARY KEY ("name", "at")) WITHOUT ROWID;
CREATE TABLE "schedules" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "definition" TEXT NOT NULL, "since" VARCHAR(255) NOT NULL, "cursor" VARCHAR(255) NOT NULL, "paused_at" VARCHAR(255), "removed_at" VARCHAR(255), "uid" INTEGER, "made_by" VARCHAR(255));
CREATE INDEX jobs_ready ON background_jobs (queue, priority DESC, id) WHERE status = 'pending' AND ready = 1;
CREATE INDEX jobs_scheduled ON background_jobs (scheduled_at) WHERE status = 'pending' AND ready = 0;
CREATE INDEX jobs_running ON background_jobs (queue) WHERE status = 'running';
CREATE UNIQUE INDEX jobs_key ON background_jobs (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_finished ON background_jobs (status, id) WHERE finished_at IS NOT NULL;
CREATE INDEX attempts_open ON job_attempts (job_id, number) WHERE outcome IS NULL;
CREATE INDEX logs_job ON job_logs (job_id, id);
CREATE INDEX jobs_pending ON background_jobs (ready) WHERE status = 'pending' AND finished_at IS NULL;
CREATE INDEX logs_type ON job_logs (type) WHERE type <> 'success';
CREATE INDEX jobs_ended ON background_jobs (status, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_of_class ON background_jobs (queue, class_name, priority DESC, id) WHERE status = 'pending' AND ready = 1;
CREATE INDEX jobs_of_schedule ON background_jobs (schedule, id) WHERE schedule IS NOT NULL AND finished_at IS NULL;
CREATE INDEX jobs_by_schedule ON background_jobs (schedule, id) WHERE schedule IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('background_jobs',8);
COMMIT;
PRAGMA user_version = 9;
