-- Schema version 3, as commit a6e79ec9 wrote it. Never to be changed.
BEGIN TRANSACTION;
CREATE TABLE "background_jobs" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "class_name" VARCHAR(255) NOT NULL, "method_name" VARCHAR(255) NOT NULL, "parameters" TEXT NOT NULL, "status" VARCHAR(255) NOT NULL, "retry_count" INTEGER NOT NULL, "max_retries" INTEGER NOT NULL, "retry_delay" REAL NOT NULL, "backoff" VARCHAR(255) NOT NULL, "max_retry_delay" REAL NOT NULL, "queue" VARCHAR(255) NOT NULL, "priority" INTEGER NOT NULL, "timeout" REAL, "scheduled_at" VARCHAR(255), "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "created_at" VARCHAR(255) NOT NULL, "updated_at" VARCHAR(255) NOT NULL, "cancel_requested_at" VARCHAR(255), "idempotency_key" VARCHAR(255), "result" TEXT, "error" TEXT, "submitted_uid" INTEGER, "submitted_gid" INTEGER, "submitted_pid" INTEGER, "ready" INTEGER NOT NULL, "request_digest" VARCHAR(255), "sensitive" TEXT);
INSERT INTO "background_jobs" VALUES(1,'jobs.Example','work','{"to":"user@example.com"}','completed',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:17:17.118927Z','2026-11-29T03:17:17.179812Z','2026-11-29T03:17:17.118927Z','2026-11-29T03:17:17.183757Z',NULL,'done','{"sent":"user@example.com"}',NULL,0,0,1518693,1,'3e06ce13f425279d9ec2c75047fcef2c',NULL);
INSERT INTO "background_jobs" VALUES(2,'jobs.Example','fail','{"message":"no"}','failed',0,0,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:17:18.072568Z','2026-11-29T03:17:18.136531Z','2026-11-29T03:17:18.072568Z','2026-11-29T03:17:18.145198Z',NULL,'18ec65c2a466b156-fc3c73c5838bd9cd686832b20ca12589',NULL,'ValueError: no',0,0,1518811,1,'d7d7c1bfa6476b1fc145330cfc64d0b8',NULL);
INSERT INTO "background_jobs" VALUES(3,'jobs.Example','fail','{"message":"again"}','pending',1,3,36000.0,'constant',3600.0,'default',0,NULL,'2026-11-29T13:17:18.981035Z','2026-11-29T03:17:18.861130Z',NULL,'2026-11-29T03:17:18.861130Z','2026-11-29T03:17:18.981035Z',NULL,'18ec65c2d24dfcd8-1d95a737a7855d63c3c9e3203e7b457e',NULL,'ValueError: again',0,0,1518833,0,'8ef3efaf26f7e798debca113af96fba0',NULL);
INSERT INTO "background_jobs" VALUES(4,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T13:17:19.766795Z',NULL,NULL,'2026-11-29T03:17:19.767563Z','2026-11-29T03:17:19.767563Z',NULL,'18ec65c308de4c0a-db35124961d2af83a0806aceb328937a',NULL,NULL,0,0,1518853,0,'62cffedf021cbabb0d45b70d12f9c795',NULL);
INSERT INTO "background_jobs" VALUES(5,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'held',5,NULL,NULL,NULL,NULL,'2026-11-29T03:17:21.726870Z','2026-11-29T03:17:21.726870Z',NULL,'18ec65c37e471242-3c5d9906dcafe66982ef3500a5cb6ad8',NULL,NULL,0,0,1518961,1,'304217553636e0c08082da0b981cd3fc',NULL);
INSERT INTO "background_jobs" VALUES(6,'jobs.Example','work','{}','cancelled',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T12:17:22.697079Z',NULL,'2026-11-29T03:17:23.583577Z','2026-11-29T03:17:22.706212Z','2026-11-29T03:17:23.583577Z','2026-11-29T03:17:23.583577Z','18ec65c3b77084f4-ff919e5537bc8e980a1951c81a1e9d58',NULL,NULL,0,0,1518998,0,'33497a24f11a91d25c2c82a37a7db4ba',NULL);
INSERT INTO "background_jobs" VALUES(7,'jobs.Example','wait','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:17:24.774496Z',NULL,'2026-11-29T03:17:24.774496Z','2026-11-29T03:17:24.774496Z',NULL,'18ec65c432f04d24-404ef33397061093bc0620ca08d6fcbc',NULL,NULL,0,0,1519067,1,'1e1e9fa15a2d804f5e60fe7500c31c20',NULL);
INSERT INTO "background_jobs" VALUES(8,'jobs.Example','ignore','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:17:25.865118Z',NULL,'2026-11-29T03:17:25.865118Z','2026-11-29T03:17:26.945340Z','2026-11-29T03:17:26.945340Z','18ec65c4733656c8-9b081fe6d8ef9d635759452b33dd5a12',NULL,NULL,0,0,1519090,1,'f2ce645d6dfe6f66c5a8ff6cb5b4b4d6',NULL);
CREATE TABLE "job_attempts" ("job_id" INTEGER NOT NULL, "number" INTEGER NOT NULL, "token" VARCHAR(255) NOT NULL, "boot_id" VARCHAR(255) NOT NULL, "pid" INTEGER, "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "outcome" VARCHAR(255), "exit_code" INTEGER, "signal" INTEGER, "error_type" TEXT, "error_message" TEXT, "traceback" TEXT, "max_rss" INTEGER, "cpu_user" REAL, "cpu_system" REAL, "output_bytes" INTEGER, "code_version" VARCHAR(255), "progress" TEXT, "noted" INTEGER NOT NULL DEFAULT 0, PRIMARY KEY ("job_id", "number")) WITHOUT ROWID;
INSERT INTO "job_attempts" VALUES(1,1,'d17af7c481e82e49','1df388ec-d432-41b4-9c12-5c687383d3a6',1518802,'2026-11-29T03:17:17.162659Z','2026-11-29T03:17:17.179812Z','completed',0,NULL,NULL,NULL,NULL,13651968,0.004735,0.0,0,'516aea5d45b4',NULL,0);
INSERT INTO "job_attempts" VALUES(2,1,'e3045014cc32e083','1df388ec-d432-41b4-9c12-5c687383d3a6',1518832,'2026-11-29T03:17:18.094130Z','2026-11-29T03:17:18.136531Z','failed',1,NULL,'ValueError','no','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: no
',13807616,6.00699999999999932e-03,6.00699999999999932e-03,0,'516aea5d45b4',NULL,0);
INSERT INTO "job_attempts" VALUES(3,1,'625b7fca8d543c29','1df388ec-d432-41b4-9c12-5c687383d3a6',1518850,'2026-11-29T03:17:18.870419Z','2026-11-29T03:17:18.958382Z','failed',1,NULL,'ValueError','again','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: again
',13807616,0.006115,0.0052,0,'516aea5d45b4',NULL,0);
INSERT INTO "job_attempts" VALUES(7,1,'296b11242f8dd5a8','1df388ec-d432-41b4-9c12-5c687383d3a6',1519083,'2026-11-29T03:17:24.803152Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'516aea5d45b4',NULL,0);
INSERT INTO "job_attempts" VALUES(8,1,'96ca840509ff76f9','1df388ec-d432-41b4-9c12-5c687383d3a6',1519116,'2026-11-29T03:17:25.890713Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'516aea5d45b4',NULL,0);
CREATE TABLE "job_logs" ("id" INTEGER NOT NULL PRIMARY KEY, "job_id" INTEGER NOT NULL, "attempt" INTEGER, "type" VARCHAR(255) NOT NULL, "message" TEXT NOT NULL, "context" TEXT, "created_at" VARCHAR(255) NOT NULL, "folded" TEXT);
INSERT INTO "job_logs" VALUES(1,1,NULL,'success','Background job initiated','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T03:17:17.118927Z',NULL);
INSERT INTO "job_logs" VALUES(2,1,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:17:17.118927Z',NULL);
INSERT INTO "job_logs" VALUES(3,1,1,'success','Background job started','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T03:17:17.183757Z',NULL);
INSERT INTO "job_logs" VALUES(4,1,1,'success','Background job completed processing',NULL,'2026-11-29T03:17:17.183757Z',NULL);
INSERT INTO "job_logs" VALUES(5,2,NULL,'success','Background job initiated','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T03:17:18.072568Z',NULL);
INSERT INTO "job_logs" VALUES(6,2,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:17:18.072568Z',NULL);
INSERT INTO "job_logs" VALUES(7,2,1,'success','Background job started','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T03:17:18.145198Z',NULL);
INSERT INTO "job_logs" VALUES(8,2,1,'failure','ValueError: no (attempt 1 of 1)',NULL,'2026-11-29T03:17:18.145198Z',NULL);
INSERT INTO "job_logs" VALUES(9,3,NULL,'success','Background job initiated','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T03:17:18.861130Z',NULL);
INSERT INTO "job_logs" VALUES(10,3,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:17:18.861130Z',NULL);
INSERT INTO "job_logs" VALUES(11,3,1,'success','Background job started','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T03:17:18.954683Z',NULL);
INSERT INTO "job_logs" VALUES(12,3,1,'failure','ValueError: again (attempt 1 of 4, next at 13:17:18)',NULL,'2026-11-29T03:17:18.981035Z',NULL);
INSERT INTO "job_logs" VALUES(13,3,1,'info','Background job waits for retry 1 of 3 at 13:17:18',NULL,'2026-11-29T03:17:18.981035Z',NULL);
INSERT INTO "job_logs" VALUES(14,4,NULL,'success','Background job initiated','{"id":4,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:17:19.767563Z',NULL);
INSERT INTO "job_logs" VALUES(15,5,NULL,'success','Background job initiated','{"id":5,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"held","priority":5,"parameters":{}}','2026-11-29T03:17:21.726870Z',NULL);
INSERT INTO "job_logs" VALUES(16,6,NULL,'success','Background job initiated','{"id":6,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:17:22.706212Z',NULL);
INSERT INTO "job_logs" VALUES(17,6,NULL,'info','Background job cancelled',NULL,'2026-11-29T03:17:23.583577Z',NULL);
INSERT INTO "job_logs" VALUES(18,7,NULL,'success','Background job initiated','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:17:24.774496Z',NULL);
INSERT INTO "job_logs" VALUES(19,7,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:17:24.774496Z',NULL);
INSERT INTO "job_logs" VALUES(20,7,1,'success','Background job started','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:17:24.893764Z',NULL);
INSERT INTO "job_logs" VALUES(21,8,NULL,'success','Background job initiated','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:17:25.865118Z',NULL);
INSERT INTO "job_logs" VALUES(22,8,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:17:25.865118Z',NULL);
INSERT INTO "job_logs" VALUES(23,8,1,'success','Background job started','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:17:25.975762Z',NULL);
INSERT INTO "job_logs" VALUES(24,8,1,'info','Background job cancel requested',NULL,'2026-11-29T03:17:26.945340Z',NULL);
CREATE TABLE "properties" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "value" TEXT NOT NULL);
INSERT INTO "properties" VALUES('database_id','6e4a2582-4832-4d92-b349-c9b86fe047ca');
CREATE TABLE "queues" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "paused_at" VARCHAR(255) NOT NULL);
INSERT INTO "queues" VALUES('held','2026-11-29T03:17:20.922303Z');
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
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('background_jobs',8);
COMMIT;
PRAGMA user_version = 3;
